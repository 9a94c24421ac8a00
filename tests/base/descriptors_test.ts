/**
 * Files as programs name them: which descriptor is found behind a `Deno.FsFile`, and what a path stands for.
 */
import { assertEquals, assertThrows } from "@std/assert";
import { readlink } from "../../ffi/paths.ts";
import { pipe, read, withFd, writeAll } from "../../ffi/files.ts";
import {
  descriptorOf,
  type FileArgument,
  withInput,
  withOutput,
} from "../../lib/base/descriptors.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import { must, tempDir } from "../support/cases.ts";

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const bytes = (text: string) => new TextEncoder().encode(text);

/** What is read behind a file argument. */
function readFrom(input: FileArgument, length = 4): string {
  const buffer = new Uint8Array(length);
  return withInput(input, (fd) => text(buffer.subarray(0, read(fd, buffer, length))));
}

const refusal = (call: () => unknown) => {
  const { code, message } = assertThrows(call, VeneerError);
  assertEquals(code, "invalid argument");
  return message;
};

Deno.test("files: of several open on one file, the descriptor is the one's own, at its position", () => {
  using dir = tempDir();
  const path = `${dir.path}/file`;
  Deno.writeTextFileSync(path, "0123456789");
  using a = Deno.openSync(path),
    b = Deno.openSync(path),
    writer = Deno.openSync(path, { write: true });
  b.seekSync(4, Deno.SeekMode.Start);
  const found = [descriptorOf(a, "read"), descriptorOf(b, "read"), descriptorOf(writer, "write")];
  assertEquals(new Set(found).size, 3);
  assertEquals(found.map((fd) => readlink(`/proc/self/fd/${fd}`)), [path, path, path]);
  assertEquals([readFrom(b), readFrom(a)], ["4567", "0123"]);
  assertEquals(b.seekSync(0, Deno.SeekMode.Current), 8, "the position is one");
  withOutput(writer, (fd) => writeAll(fd, bytes("ab")));
  assertEquals(Deno.readTextFileSync(path), "ab23456789");
});

Deno.test("files: a pipe's descriptor is one of its own end", () => {
  using dir = tempDir();
  const path = `${dir.path}/fifo`;
  must("mkfifo", path);
  using both = Deno.openSync(path, { read: true, write: true });
  using reader = Deno.openSync(path);
  using writer = Deno.openSync(path, { write: true });
  withOutput(writer, (fd) => writeAll(fd, bytes("through")));
  assertEquals(readFrom(reader, 7), "through");
  withOutput(both, (fd) => writeAll(fd, bytes("both")));
  assertEquals(readFrom(both), "both");
});

Deno.test("files: one that is closed or open for another use is refused", () => {
  using dir = tempDir();
  const path = `${dir.path}/file`;
  Deno.writeTextFileSync(path, "");
  const file = Deno.openSync(path);
  assertEquals(refusal(() => descriptorOf(file, "write")), "the file is not open to write");
  file.close();
  assertEquals(refusal(() => descriptorOf(file, "read")), "the file is closed: Bad resource ID");
  const rule = "is not a file: pass a descriptor, a Deno.FsFile or a path";
  for (const wrong of [-1, 1.5, NaN, 2 ** 31]) {
    assertEquals(refusal(() => withInput(wrong, () => {})), `${wrong} ${rule}`);
  }
  assertEquals(refusal(() => withInput({} as number, () => {})), `{} ${rule}`);
  const url = new URL("https://example.org/x");
  assertEquals(refusal(() => withInput(url, () => {})), `${url} is not a URL of a file`);
});

Deno.test("files: a path is opened to be read, and written whole or not at all", () => {
  using dir = tempDir();
  const path = `${dir.path}/a file`, url = new URL(`file://${dir.path}/a%20file`);
  withOutput(path, (fd) => writeAll(fd, bytes("first")));
  assertThrows(() =>
    withOutput(url, (fd) => {
      writeAll(fd, bytes("second"));
      throw new Error("no more");
    })
  );
  assertEquals([readFrom(path, 9), readFrom(url, 9)], ["first", "first"]);
  withOutput(url, (fd) => writeAll(fd, bytes("third")));
  assertEquals(Deno.readTextFileSync(path), "third");
});

Deno.test("files: a descriptor stays open", () => {
  const { readable, writable } = pipe();
  withFd(readable, () => {
    withFd(writable, () => {
      withOutput(writable, (fd) => writeAll(fd, bytes("1")));
      withOutput(writable, (fd) => writeAll(fd, bytes("2")));
    });
    assertEquals(readFrom(readable), "12");
  });
});
