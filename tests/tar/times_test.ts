/**
 * Times that no file system keeps.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { O_RDONLY, open, withFd } from "../../ffi/files.ts";
import { lstat } from "../../ffi/stat.ts";
import { Times, tryFutimens } from "../../ffi/names.ts";
import { bytes, dir, file, pax, tar, type TarEntry } from "./support/tar_builder.ts";
import { Sandbox } from "./support/tar_layers.ts";

/** A time in base 256, in place of a header's. */
function at(entry: TarEntry, value: bigint): TarEntry {
  const field = BigInt.asUintN(96, value) | 1n << 95n;
  const digits = Array.from({ length: 12 }, (_, i) => Number(field >> BigInt(88 - 8 * i) & 0xffn));
  return { ...entry, patches: [[136, bytes(String.fromCharCode(...digits))]] };
}

const HUGE = 2n ** 60n;

/** What is asked of the kernel, in seconds, and the tar that asks it. */
const CASES: Record<string, readonly [number, readonly (TarEntry | Uint8Array)[]]> = {
  "base 256": [2 ** 60, [at(dir("d"), HUGE), at(file("f"), HUGE)]],
  "base 256, more than 64 bits": [2 ** 62, [at(dir("d"), 2n ** 80n), at(file("f"), 2n ** 80n)]],
  "base 256, negative": [-(2 ** 60), [at(dir("d"), -HUGE), at(file("f"), -HUGE)]],
  pax: [2 ** 60, [pax({ mtime: `${HUGE}` }), dir("d"), pax({ mtime: `${HUGE}.5` }), file("f")]],
  "pax, endless": [
    2 ** 62,
    ["d", "f"].flatMap((name) => [
      pax({ mtime: "9".repeat(400) }),
      name === "d" ? dir(name) : file(name),
    ]),
  ],
  "pax, negative": [-(2 ** 60), [
    pax({ mtime: `-${HUGE}` }),
    dir("d"),
    pax({ mtime: `-${HUGE}` }),
    file("f"),
  ]],
};

for (const [name, [seconds, parts]] of Object.entries(CASES)) {
  Deno.test(`times: what the file system does not keep is what the kernel makes of it: ${name}`, () => {
    using sandbox = new Sandbox();
    const reference = `${sandbox.outside}/reference`;
    Deno.writeTextFileSync(reference, "");
    withFd(open(reference, O_RDONLY), (fd) => tryFutimens(fd, new Times().set(0, 0, seconds, 0)));
    const expected = lstat(reference).seconds;
    sandbox.apply(tar(...parts));
    for (const path of ["d", "f"]) {
      assertEquals(lstat(`${sandbox.root}/${path}`).seconds, expected, path);
    }
  });
}
