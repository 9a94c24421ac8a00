import { confinedAt } from "../support/confined_at.ts";
import { assertEquals, assertFalse } from "@std/assert";
import {
  makeMark,
  readMetadata,
  removeMetadata,
  TEMPORARY_SUFFIX,
  writeMetadata,
} from "../../lib/store/metadata.ts";

function withDirectory(use: (path: string) => void): void {
  const path = Deno.makeTempDirSync({ dir: Deno.env.get("VENEER_TEST_DIR") });
  try {
    use(path);
  } finally {
    Deno.removeSync(path, { recursive: true });
  }
}

Deno.test("metadata: what is written is read, without its last newline", () =>
  withDirectory((path) => {
    writeMetadata(confinedAt(path, "parent"), "base\n");
    assertEquals(readMetadata(confinedAt(path, "parent")), "base");
    assertEquals(Deno.statSync(`${path}/parent`).mode! & 0o777, 0o600);
  }));

Deno.test("metadata: a file is replaced by rename, so that who has the old one open still reads it", () =>
  withDirectory((path) => {
    writeMetadata(confinedAt(path, "parent"), "old");
    using old = Deno.openSync(`${path}/parent`);
    writeMetadata(confinedAt(path, "parent"), "new");
    const buffer = new Uint8Array(10);
    assertEquals(new TextDecoder().decode(buffer.subarray(0, old.readSync(buffer)!)), "old");
    assertEquals(readMetadata(confinedAt(path, "parent")), "new");
  }));

Deno.test("metadata: what a killed writer left beside the file is neither read nor in the way", () =>
  withDirectory((path) => {
    Deno.writeTextFileSync(`${path}/parent${TEMPORARY_SUFFIX}`, "half a wri");
    assertEquals(readMetadata(confinedAt(path, "parent")), undefined);
    writeMetadata(confinedAt(path, "parent"), "whole");
    assertEquals([...Deno.readDirSync(path)].map((entry) => entry.name), ["parent"]);
  }));

Deno.test("metadata: a mark that is there already stays, whatever it is", () =>
  withDirectory((path) => {
    const mark = confinedAt(path, "mark");
    makeMark(mark);
    const { ino, size, mode } = Deno.statSync(mark.text);
    assertEquals([size, mode! & 0o777], [0, 0o600]);
    makeMark(mark);
    assertEquals(Deno.statSync(mark.text).ino, ino);
    Deno.mkdirSync(`${path}/other`);
    makeMark(confinedAt(path, "other"));
    assertEquals(Deno.statSync(`${path}/other`).isDirectory, true);
    assertEquals([...Deno.readDirSync(path)].map((entry) => entry.name).sort(), ["mark", "other"]);
  }));

Deno.test("metadata: removing says whether there was anything", () =>
  withDirectory((path) => {
    writeMetadata(confinedAt(path, "mark"), "");
    assertEquals(removeMetadata(confinedAt(path, "mark")), true);
    assertFalse(removeMetadata(confinedAt(path, "mark")));
  }));
