/** A small generator of evenly distributed numbers, which a seed makes repeatable (mulberry32). */

/** Returns an integer of at least 0 and less than its argument. */
export type Random = (below: number) => number;

export function randomOf(seed: number): Random {
  return (below) => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/** A random element of a list. */
export function pick<T>(random: Random, list: readonly T[]): T {
  return list[random(list.length)];
}
