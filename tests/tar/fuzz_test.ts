/**
 * Thousands of damaged tars: each is applied or refused with one of the project's own errors; none touches
 * what is outside the layer, crashes or hangs. The seed is fixed, so that a failure can be repeated; set
 * `VENEER_FUZZ_SEED` and `VENEER_FUZZ_ROUNDS` for others.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { VeneerError } from "../../lib/base/errors.ts";
import { IDENTITY, IdMap } from "../../lib/base/id_maps.ts";
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
} from "./support/tar_builder.ts";
import { Sandbox } from "./support/tar_layers.ts";
import { cpuTime, limitHere } from "../support/cpu_time.ts";
import { pick as pickBy, type Random, randomOf } from "../support/random.ts";

const SEED = Number(Deno.env.get("VENEER_FUZZ_SEED") ?? 20240607);
const ROUNDS = Number(Deno.env.get("VENEER_FUZZ_ROUNDS") ?? 4000);

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

/** Names that are others once C has read them: none leads further than to what surrounds the layer. */
const CUT_NAMES = [
  "..\0x",
  "..\0x/victim",
  ".\0x",
  "a/..\0x",
  ".wh...\0x",
  "\0",
  "a\0",
  "victim\0/x",
];

/** Text with a byte in it that text has not: NUL, as often as all other control bytes together, or one of them. */
function spoil(text: string, random: Random): string {
  const at = random(text.length + 1), byte = random(2) === 0 ? 0 : random(33);
  return text.slice(0, at) + String.fromCharCode(byte === 32 ? 0x7f : byte) +
    text.slice(at + random(2));
}

/** An archive of entries that make sense one by one. */
function compose(random: Random): Uint8Array {
  const pick = <T>(list: readonly T[]): T => pickBy(random, list);
  const text = (value: string): string => random(40) === 0 ? spoil(value, random) : value;
  const number = (value: number) => random(60) === 0 ? spoil(value.toString(8), random) : value;
  const anyName = (): string => {
    if (random(30) === 0) return pick(CUT_NAMES);
    return text(random(25) === 0 ? pick(BAD_NAMES) : pick(NAMES));
  };
  const target = () => text(pick(TARGETS));
  const parts: (TarEntry | Uint8Array)[] = [];
  for (let i = random(6) + 1; i > 0; i--) {
    const name = anyName();
    if (random(8) === 0) {
      const records: Record<string, string> = {};
      const set = (key: string, value: string) => records[text(key)] = text(value);
      const extendedName = () => random(4) === 0 ? pick(CUT_NAMES) : anyName();
      if (random(2)) set("path", extendedName());
      if (random(3) === 0) set("linkpath", target());
      if (random(3) === 0) set("mtime", pick(["1.5", "-7.25", "99999999999", "1e9"]));
      if (random(4) === 0) set("size", pick(["0", "5", "700", "-1"]));
      if (random(6) === 0) set(pick(["uid", "gid"]), pick(["0", "1000", "65536", "-1"]));
      if (random(6) === 0) set(pick(["uname", "gname"]), "root");
      if (random(4) === 0) set("SCHILY.xattr.user.x", "y");
      if (random(4) === 0) set("SCHILY.xattr.trusted.overlay.opaque", "y");
      if (random(5) === 0) {
        set("GNU.sparse.size", pick(["10", "1000", "99999999", "-5"]));
        set("GNU.sparse.map", pick(["0,5", "5,1,2,2", "0,0", "9,9,9"]));
      }
      if (random(6) === 0) {
        set("GNU.sparse.size", pick(["10", "1000"]));
        set("GNU.sparse.numblocks", "1");
        set("GNU.sparse.offset", pick(["0", "5"]));
        set("GNU.sparse.numbytes", pick(["0", "5"]));
      }
      if (random(6) === 0) {
        set("GNU.sparse.major", "1");
        set("GNU.sparse.minor", "0");
        set("GNU.sparse.realsize", "4000");
      }
      if (random(4) === 0) set("GNU.sparse.name", extendedName());
      parts.push(pax(records, pick(["x", "x", "x", "g"])));
    }
    parts.push({
      ...pick<() => TarEntry>([
        () => file(name, "x".repeat(random(3000))),
        () => dir(name, { mode: number(pick([0o755, 0o2777, 0])) }),
        () => symlink(target(), name),
        () => hardlink(target(), name),
        () => ({
          name,
          type: pick(["3", "4"]),
          major: number(random(5)),
          minor: number(random(5)),
        }),
        () => ({ name, type: "6" }),
        () => file(name, text(`${random(3)}\n${random(9)}\n${random(9)}\n`)),
        () => file("././@LongLink", `${anyName()}\0`, { type: pick(["L", "K"]), magic: "gnu" }),
        () => ({
          name,
          type: "S",
          magic: "gnu",
          data: "xxxx",
          patches: [[386, bytes(text("00000000000\x0000000000004") + "\0")]],
        }),
        () => ({ name, type: pick(["7", "V", "\0", "N"]), data: "?" }),
      ])(),
      ...random(10) === 0 ? { prefix: text(pick(NAMES)) } : {},
      ...random(20) === 0 ? { uid: number(random(1000)), mtime: number(1_600_000_000) } : {},
    });
  }
  return concat([...openEnded(...parts), new Uint8Array(1024)]);
}

/** Changes a few bytes; header checksums are put right again most of the time, or nothing would get past them. */
function damage(archive: Uint8Array, random: Random): Uint8Array<ArrayBuffer> {
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
  const random = randomOf(SEED);
  const map = new IdMap([{ container: 0, host: 100000, size: 65536 }]);
  let applied = 0, refused = 0;
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
      const started = cpuTime();
      try {
        sandbox.apply(archive, {
          whiteouts: (["none", "overlay", "aufs"] as const)[random(3)],
          idMaps: random(4) === 0 ? { uids: map, gids: map } : IDENTITY,
        });
        applied++;
      } catch (error) {
        // A failed system call, too: nothing here is wrong with the machine.
        if (!(error instanceof VeneerError)) {
          throw new Error(`round ${round} of seed ${SEED}`, { cause: error });
        }
        refused++;
        assertEquals((error as Error).message.includes("\n"), false);
      }
      assertEquals(cpuTime() - started < limitHere(5000), true, `round ${round} took too long`);
    }
    sandbox.assertContained();
  } finally {
    sandbox[Symbol.dispose]();
  }
  // The mixture is one that gets past the first checks.
  assertEquals(
    applied > ROUNDS / 20 && refused > ROUNDS / 20,
    true,
    `${applied} ${refused}`,
  );
  console.log(`    ${applied} applied, ${refused} refused`);
});
