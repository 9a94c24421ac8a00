import { assertEquals } from "@std/assert";
import { bytes, dir, file, pax, tar, type TarEntry } from "./tar_builder.ts";
import { Sandbox } from "./tar_layers.ts";

/** A time field in base 256. */
function base256(value: bigint): string {
  const field = BigInt.asUintN(96, value) | 1n << 95n;
  return String.fromCharCode(
    ...Array.from({ length: 12 }, (_, i) => Number(field >> BigInt(88 - 8 * i) & 0xffn)),
  );
}

const HUGE = 2n ** 60n;
const at = (value: bigint) => ({ patches: [[136, bytes(base256(value))]] as const });

const CASES: Record<string, readonly [late: boolean, parts: readonly (TarEntry | Uint8Array)[]]> = {
  "base 256": [true, [{ ...dir("d"), ...at(HUGE) }, { ...file("f"), ...at(HUGE) }]],
  "base 256, more than 64 bits": [true, [{ ...dir("d"), ...at(2n ** 80n) }, {
    ...file("f"),
    ...at(2n ** 80n),
  }]],
  "base 256, negative": [false, [{ ...dir("d"), ...at(-HUGE) }, { ...file("f"), ...at(-HUGE) }]],
  pax: [true, [pax({ mtime: `${HUGE}` }), dir("d"), pax({ mtime: "9".repeat(400) }), file("f")]],
  "pax, negative": [false, [
    pax({ mtime: `-${HUGE}.5` }),
    dir("d"),
    pax({ mtime: `-${HUGE}` }),
    file("f"),
  ]],
};

for (const [name, [late, parts]] of Object.entries(CASES)) {
  Deno.test(`times: beyond what the file system keeps, the nearest that it does keep: ${name}`, () => {
    using sandbox = new Sandbox();
    // What the kernel makes of such a time on this file system.
    Deno.writeTextFileSync(`${sandbox.outside}/reference`, "");
    const reference = Deno.openSync(`${sandbox.outside}/reference`);
    reference.utimeSync(0, late ? 2 ** 50 : -(2 ** 50));
    const expected = Math.trunc(
      Deno.statSync(`${sandbox.outside}/reference`).mtime!.getTime() / 1000,
    );
    reference.close();
    sandbox.apply(tar(...parts));
    for (const path of ["d", "f"]) {
      assertEquals(
        Math.trunc(Deno.statSync(`${sandbox.root}/${path}`).mtime!.getTime() / 1000),
        expected,
        path,
      );
    }
  });
}
