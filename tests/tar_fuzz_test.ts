/**
 * Thousands of damaged tars: each is applied or refused with one of the project's own errors; none touches
 * what is outside the layer, crashes or hangs. The seed is fixed, so that a failure can be repeated; set
 * `VENEER_FUZZ_SEED` and `VENEER_FUZZ_ROUNDS` for others.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { SyscallError } from "../ffi/errno.ts";
import { VeneerError } from "../lib/errors.ts";
import { IDENTITY, IdMap } from "../lib/id_maps.ts";
import {
  bytes,
  concat,
  dir,
  file,
  hardlink,
  openEnded,
  pax,
  symlink,
  type TarEntry,
} from "./tar_builder.ts";
import { Sandbox } from "./tar_layers.ts";

const SEED = Number(Deno.env.get("VENEER_FUZZ_SEED") ?? 20240607);
const ROUNDS = Number(Deno.env.get("VENEER_FUZZ_ROUNDS") ?? 4000);

/** A small generator of even numbers (mulberry32). */
function generator(seed: number): (below: number) => number {
  return (below) => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/** Names that can be placed, most of the time. */
const NAMES = [
  "a",
  "b",
  "a/b",
  "a/b/c",
  "b/.wh.a",
  ".wh.a",
  "a/.wh..wh..opq",
  "./",
  "link/x",
  "d/e/f",
];
const BAD_NAMES = [
  "../victim",
  "/etc/passwd",
  "a/../../x",
  ".wh..",
  "link/../x",
  "",
  "n".repeat(100),
];
const TARGETS = ["a", "b", "a/b", "link", "/etc", "../victim", "..", "/", "/proc/self/root", ""];

/** An archive of entries that make sense one by one. */
function compose(random: (below: number) => number): Uint8Array {
  const pick = <T>(list: readonly T[]): T => list[random(list.length)];
  const parts: (TarEntry | Uint8Array)[] = [];
  for (let i = random(6) + 1; i > 0; i--) {
    const name = random(25) === 0 ? pick(BAD_NAMES) : pick(NAMES);
    if (random(8) === 0) {
      const records: Record<string, string> = {};
      if (random(2)) records.path = pick(NAMES);
      if (random(3) === 0) records.linkpath = pick(TARGETS);
      if (random(3) === 0) records.mtime = pick(["1.5", "-7.25", "99999999999", "1e9"]);
      if (random(4) === 0) records.size = pick(["0", "5", "700", "-1"]);
      if (random(4) === 0) records["SCHILY.xattr.user.x"] = "y";
      if (random(4) === 0) records["SCHILY.xattr.trusted.overlay.opaque"] = "y";
      if (random(5) === 0) {
        records["GNU.sparse.size"] = pick(["10", "1000", "99999999"]);
        records["GNU.sparse.map"] = pick(["0,5", "5,1,2,2", "0,0", "9,9,9"]);
      }
      if (random(6) === 0) {
        records["GNU.sparse.major"] = "1";
        records["GNU.sparse.realsize"] = "4000";
        records["GNU.sparse.name"] = name;
      }
      parts.push(pax(records, pick(["x", "x", "x", "g"])));
    }
    parts.push(
      pick<() => TarEntry>([
        () => file(name, "x".repeat(random(3000))),
        () => dir(name, { mode: pick([0o755, 0o2777, 0]) }),
        () => symlink(pick(TARGETS), name),
        () => hardlink(pick(TARGETS), name),
        () => ({ name, type: pick(["3", "4"]), major: random(5), minor: random(5) }),
        () => ({ name, type: "6" }),
        () => file(name, `${random(3)}\n${random(9)}\n${random(9)}\n`),
        () => file("././@LongLink", pick(NAMES) + "\0", { type: pick(["L", "K"]), magic: "gnu" }),
        () => ({
          name,
          type: "S",
          magic: "gnu",
          data: "xxxx",
          patches: [[386, bytes("00000000000\x0000000000004\0")]],
        }),
        () => ({ name, type: pick(["7", "V", "\0", "N"]), data: "?" }),
      ])(),
    );
  }
  return concat([...openEnded(...parts), new Uint8Array(1024)]);
}

/** Changes a few bytes; header checksums are put right again most of the time, or nothing would get past them. */
function damage(archive: Uint8Array, random: (below: number) => number): Uint8Array<ArrayBuffer> {
  const result = new Uint8Array(archive);
  for (let i = random(3); i > 0; i--) {
    const block = random(result.length / 512) * 512;
    const at = block + random(random(2) ? 512 : 160);
    result[at] = [random(256), 0, 0xff, 0x2f, 0x2e, 0x30 + random(10)][random(6)];
    if (random(5) > 0) {
      const header = result.subarray(block, block + 512);
      header.fill(0x20, 148, 156);
      const sum = header.reduce((total, byte) => total + byte, 0);
      header.set(bytes(sum.toString(8).padStart(6, "0") + "\0 "), 148);
    }
  }
  return random(10) === 0 ? result.slice(0, random(result.length)) : result;
}

Deno.test(`fuzz: ${ROUNDS} damaged tars are applied or refused, and stay inside (seed ${SEED})`, () => {
  const random = generator(SEED);
  const map = new IdMap([{ container: 0, host: 100000, size: 65536 }]);
  let applied = 0, refused = 0, failed = 0;
  let sandbox = new Sandbox();
  try {
    for (let round = 0; round < ROUNDS; round++) {
      // Layers are reused for a while, so that tars meet what others left.
      if (round % 20 === 19) {
        sandbox.assertContained();
        sandbox[Symbol.dispose]();
        sandbox = new Sandbox();
      }
      const archive = damage(compose(random), random);
      const started = performance.now();
      try {
        sandbox.apply(archive, {
          whiteouts: (["none", "overlay", "aufs"] as const)[random(3)],
          idMaps: random(4) === 0 ? { uids: map, gids: map } : IDENTITY,
        });
        applied++;
      } catch (error) {
        if (error instanceof SyscallError) failed++;
        else if (error instanceof VeneerError) refused++;
        else throw new Error(`round ${round} of seed ${SEED}`, { cause: error });
        assertEquals((error as Error).message.includes("\n"), false);
      }
      assertEquals(performance.now() - started < 5000, true, `round ${round} took too long`);
    }
    sandbox.assertContained();
  } finally {
    sandbox[Symbol.dispose]();
  }
  // The mixture is one that gets past the first checks.
  assertEquals(
    applied > ROUNDS / 10 && refused > ROUNDS / 10,
    true,
    `${applied} ${refused} ${failed}`,
  );
  console.log(`    ${applied} applied, ${refused} refused, ${failed} failed in a system call`);
});
