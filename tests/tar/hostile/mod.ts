/**
 * Tars that try everything: each odd name, target, number, size, map, attribute, order and form, one at a
 * time, and mixtures of them. A campaign takes them with a seed of its own: `hostileTars(seed, 100_000)`.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { oddArchives } from "./archives.ts";
import { oddAttributes } from "./attributes.ts";
import type { HostileTar } from "./hostile_tar.ts";
import { oddLinks } from "./links.ts";
import { mixtures } from "./mixtures.ts";
import { oddNames } from "./names.ts";
import { oddNumbers } from "./numbers.ts";
import { oddOrders } from "./orders.ts";
import { oddSparseFiles } from "./sparse.ts";

export type { HostileTar };

/** Every class but the mixtures: the same whatever the seed. */
const SYSTEMATIC = [
  oddNames,
  oddLinks,
  oddNumbers,
  oddSparseFiles,
  oddAttributes,
  oddOrders,
  oddArchives,
];

/** All that are tried one by one, then `mixed` mixtures of a seed; no two have the same bytes. */
export function* hostileTars(seed: number, mixed: number): Generator<HostileTar> {
  const seen = new Set<string>();
  const isNew = ({ bytes }: HostileTar) => {
    const digest = createHash("sha256").update(bytes).digest("base64");
    return seen.size < seen.add(digest).size;
  };
  for (const make of SYSTEMATIC) {
    for (const hostile of make()) if (isNew(hostile)) yield hostile;
  }
  for (const hostile of mixtures(seed)) {
    if (mixed-- <= 0) return;
    if (isNew(hostile)) yield hostile;
  }
}

/** About `count` of them, spread evenly over every class, at least two of each. */
export function sampleOf(tars: readonly HostileTar[], count: number): HostileTar[] {
  const classes = Map.groupBy(tars, (hostile) => hostile.class);
  return [...classes.values()].flatMap((all) => {
    const share = Math.min(all.length, Math.max(2, Math.round(count * all.length / tars.length)));
    return Array.from({ length: share }, (_, i) => all[Math.floor(i * all.length / share)]);
  });
}
