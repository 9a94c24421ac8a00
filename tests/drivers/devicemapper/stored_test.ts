/** An apply to a devicemapper layer that reports success has stored what it read, also where the pool fills up. */
// @runs on guest ext4
// @runs long on guest xfs
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { close, O_RDONLY, open } from "../../../ffi/files.ts";
import { assertNoDevices, FILE_SYSTEM, lacking, openStore, writeZeros } from "./support.ts";
import { VeneerError } from "../../../lib/base/errors.ts";
import type { GraphDriver } from "../../../lib/graph/driver.ts";
import { writeOut } from "../../../drivers/devicemapper/write_out.ts";
import { storeDir } from "../../support/store_dir.ts";
import { must, needs, run, tempDir } from "../../support/cases.ts";

const TIMEOUT = "/sys/module/dm_thin_pool/parameters/no_space_timeout";
/** Of a layer, in MiB: two fit into the pool, three do not. */
const SIZE = 16;

function test(name: string, body: (root: string) => void): void {
  needs(lacking, `devicemapper with ${FILE_SYSTEM}: ${name}`, () => {
    using dir = storeDir();
    body(`${dir.path}/root`);
    assertNoDevices(`${dir.path}/root`);
  });
}

/** A tar of one file of random bytes, and the file's digest. */
function makeTar(directory: string): { tar: string; digest: string } {
  Deno.mkdirSync(`${directory}/content`);
  const chunk = new Uint8Array(1 << 16);
  const file = Deno.openSync(`${directory}/content/file`, { write: true, create: true });
  for (let i = 0; i < SIZE * 16; i++) {
    crypto.getRandomValues(chunk);
    file.writeSync(chunk);
  }
  file.close();
  must("tar", "-C", `${directory}/content`, "-cf", `${directory}/tar`, ".");
  return { tar: `${directory}/tar`, digest: digestOf(`${directory}/content/file`) };
}

const digestOf = (path: string) => run("sha256sum", path).stdout.slice(0, 64);

/** Applies the tar to new layers until one is refused; returns those that were taken and the refusal. */
function applyUntilFull(driver: GraphDriver, tar: string): { applied: string[]; error: unknown } {
  const applied: string[] = [];
  for (let i = 1; i <= 5; i++) {
    const input = open(tar, O_RDONLY);
    try {
      driver.create(`layer${i}`);
      driver.applyDiff(`layer${i}`, "", input);
      applied.push(`layer${i}`);
    } catch (error) {
      return { applied, error };
    } finally {
      close(input);
    }
  }
  return { applied, error: undefined };
}

for (const whenFull of ["error", "queue"]) {
  test(`a pool that fills up during an apply refuses it, with dm.when_full=${whenFull}`, (root) => {
    using scratch = tempDir();
    const { tar, digest } = makeTar(scratch.path);
    const former = Deno.readTextFileSync(TIMEOUT);
    Deno.writeTextFileSync(TIMEOUT, "3");
    const warnings: string[] = [];
    const driver = openStore(root, {
      options: [
        "dm.loopdatasize=48M",
        "dm.min_free_space=0%",
        `dm.when_full=${whenFull}`,
      ],
      warn: (message) => warnings.push(message),
    });
    try {
      const { applied, error } = applyUntilFull(driver, tar);
      assert(error instanceof VeneerError, `${error}`);
      assertEquals(error.code, "limit exceeded");
      assertStringIncludes(
        error.message,
        "is incomplete: make room, then apply again or remove it",
      );
      if (whenFull === "queue") {
        assertStringIncludes(warnings.join("\n"), "is out of data space: waiting up to 3 s");
      }
      assert(applied.length > 0);
      Deno.writeTextFileSync("/proc/sys/vm/drop_caches", "3");
      for (const id of applied) {
        assertEquals(digestOf(`${driver.get(id)}/file`), digest, id);
        driver.put(id);
      }
      const refused = `layer${applied.length + 1}`;
      assertEquals(driver.layer(refused).incomplete, true);
      driver.remove(refused);
      driver.remove(applied.at(-1)!);
    } finally {
      Deno.writeTextFileSync(TIMEOUT, former);
    }
    driver.cleanup();
  });
}

test("on a kernel whose syncfs does not tell, every file is asked", (root) => {
  const driver = openStore(root, {
    options: ["dm.loopdatasize=32M", "dm.min_free_space=0%", "dm.when_full=error"],
  });
  driver.create("layer");
  const path = driver.get("layer");
  const directory = open(path, O_RDONLY);
  Deno.mkdirSync(`${path}/a/b`, { recursive: true });
  Deno.writeTextFileSync(`${path}/a/b/small`, "x");
  writeOut(directory, false, () => {});
  writeZeros(`${path}/a/b/large`, 20);
  writeZeros(`${path}/large`, 20);
  let code = "";
  try {
    writeOut(directory, false, () => {});
  } catch (error) {
    code = (error as { code: string }).code;
  }
  close(directory);
  assert(["EIO", "ENOSPC", "EROFS"].includes(code), code);
  driver.put("layer");
  driver.remove("layer");
  driver.cleanup();
});
