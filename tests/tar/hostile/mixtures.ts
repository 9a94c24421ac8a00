/** Several odd things at once, as chance has them. */
import { bytes, file, type TarEntry } from "../support/tar_builder.ts";
import { pick, type Random, randomOf } from "../../support/random.ts";
import { hostile, type HostileTar, type Part } from "./hostile_tar.ts";
import { TYPES } from "./names.ts";
import {
  CLIMBING,
  gnuLong,
  ODD_DECIMALS,
  ODD_NAMES,
  oddFields,
  paxOf,
  TARGETS,
  WITH_NUL,
} from "./values.ts";

const PLAIN = ["a", "b", "a/b", "a/b/c", "d", "d/x", "l", "l/x", "up/x", "pdir/x", "pfile"];
const MODES = [0, 0o644, 0o755, 0o2777, 0o4755, 0o7777];

/** A name that can be placed, mostly. */
function name(random: Random): string {
  if (random(8) === 0) return pick(random, [...ODD_NAMES, ...CLIMBING, ...WITH_NUL]);
  const plain = pick(random, PLAIN);
  switch (random(12)) {
    case 0:
      return `${plain}/.wh..wh..opq`;
    case 1:
      return plain.replace(/[^/]*$/, ".wh.$&");
    default:
      return plain;
  }
}

function target(random: Random): string {
  return random(2) === 0 ? pick(random, PLAIN) : pick(random, TARGETS);
}

function records(random: Random): [string, string | Uint8Array][] {
  const choices: (() => [string, string | Uint8Array])[] = [
    () => ["path", bytes(name(random))],
    () => ["linkpath", bytes(target(random))],
    () => ["GNU.sparse.name", bytes(name(random))],
    () => ["size", pick(random, ODD_DECIMALS)],
    () => ["uid", pick(random, ODD_DECIMALS)],
    () => ["mtime", pick(random, ODD_DECIMALS)],
    () => ["GNU.sparse.size", pick(random, ODD_DECIMALS)],
    () => ["GNU.sparse.map", `${random(9)},${random(9)}`],
    () => ["SCHILY.xattr.user.x", "y"],
    () => ["SCHILY.xattr.trusted.overlay.opaque", "y"],
    () => ["SCHILY.xattr.system.posix_acl_default", bytes("\x02\0\0\0")],
  ];
  return Array.from({ length: 1 + random(2) }, () => pick(random, choices)());
}

function entry(random: Random): TarEntry {
  const made: TarEntry = {
    ...pick(random, Object.values(TYPES)),
    name: bytes(name(random)),
    link: bytes(target(random)),
    mode: pick(random, MODES),
    magic: pick(random, ["ustar", "ustar", "gnu", "v7"] as const),
  };
  if (random(10) > 0) return made;
  const [at, width] = pick(random, [[100, 8], [108, 8], [124, 12], [136, 12]] as const);
  return { ...made, patches: [[at, bytes(pick(random, oddFields(width))).subarray(0, width)]] };
}

/** Mixtures without end; of one seed always the same. */
export function* mixtures(seed: number): Generator<HostileTar> {
  const random = randomOf(seed);
  for (let number = 0;; number++) {
    const parts: Part[] = [];
    for (let i = 2 + random(7); i > 0; i--) {
      if (random(5) === 0) parts.push(paxOf(records(random)));
      if (random(12) === 0) parts.push(gnuLong(name(random)));
      if (random(12) === 0) parts.push(gnuLong(target(random), "K"));
      parts.push(entry(random));
    }
    parts.push(file("last", "x"));
    yield hostile("mixtures", `number ${number} of seed ${seed}`, parts);
  }
}
