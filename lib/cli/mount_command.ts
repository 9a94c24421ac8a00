/**
 * A mount as a command line for mount(8).
 *
 * @module
 */
import type { Mount } from "../mount/plan.ts";

/** `mount -t TYPE SOURCE TARGET -o OPTIONS`, quoted for a POSIX shell. */
export function mountCommand({ type, source, options }: Mount, target: string): string {
  const words = ["mount", "-t", type, source, target];
  if (options.length > 0) words.push("-o", options.join(","));
  return words.map(quote).join(" ");
}

/** A word as a POSIX shell takes it. */
export function quote(word: string): string {
  if (word === "") return '""';
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
