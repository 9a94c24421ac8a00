/** Limits on the time that something takes, which hold on slow machines and on busy ones. */
import process from "node:process";

/**
 * Processor time of this process so far, of all threads, in milliseconds. Other programs on a busy machine add little
 * to it.
 */
export function cpuTime(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** What {@linkcode work} takes on the machine for which the limits of cases were chosen, in milliseconds. */
const USUAL = 100;

/** Calls of the system and some arithmetic, as most of what is limited. */
function work(): number {
  let sum = 0;
  for (let i = 0; i < 20_000; i++) sum += Deno.lstatSync("/").size;
  for (let i = 0; i < 20_000_000; i++) sum = (Math.imul(sum, 1664525) + 1013904223) | 0;
  return sum;
}

let slowness: number | undefined;

/**
 * A limit on processor time: so many milliseconds on the machine for which it was chosen, and accordingly more on a
 * slower one.
 */
export function limitHere(milliseconds: number): number {
  if (slowness === undefined) {
    const before = cpuTime();
    work();
    slowness = Math.max(1, (cpuTime() - before) / USUAL);
  }
  return milliseconds * slowness;
}
