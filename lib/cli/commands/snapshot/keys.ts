/**
 * Keys as the command line names them.
 *
 * @module
 */
import { VeneerError } from "../../../base/errors.ts";
import { shown } from "../../../snapshots/keys.ts";
import type { Snapshotter } from "../../../snapshots/snapshotter.ts";
import type { CommandContext } from "../context.ts";

/**
 * The key or name that an operand stands for: itself, or the only one that begins with it. Scripts,
 * with `--json`, must write it whole: a prefix that is unique today may not be tomorrow.
 */
export function findKey(
  { output }: CommandContext,
  snapshotter: Snapshotter,
  text: string,
): string {
  if (isTaken(text, snapshotter) || output.json) return text;
  const matches: string[] = [];
  for (const { name } of snapshotter.walk()) if (name.startsWith(text)) matches.push(name);
  if (matches.length <= 1) return matches[0] ?? text;
  const some = matches.slice(0, 3).map(shown).join(", ") + (matches.length > 3 ? ", …" : "");
  throw new VeneerError(
    "invalid argument",
    `snapshot ${shown(text)}: it could be ${some}; write more of it`,
  );
}

/** Whether there is a snapshot of that key or name. */
export function isTaken(text: string, snapshotter: Snapshotter): boolean {
  try {
    snapshotter.stat(text);
    return true;
  } catch (error) {
    if (error instanceof VeneerError && error.code === "not found") return false;
    throw error;
  }
}
