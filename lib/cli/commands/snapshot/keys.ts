/**
 * Finds the keys that the command line names.
 *
 * @module
 */
import { VeneerError } from "../../../base/errors.ts";
import { shown } from "../../../snapshots/keys.ts";
import type { Snapshotter } from "../../../snapshots/snapshotter.ts";
import type { CommandContext } from "../context.ts";

/**
 * The key or name of an operand: the operand itself, or the only one that begins with it. With
 * `--json`, for scripts, it must be complete: a prefix that is unique today may not be unique
 * tomorrow.
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

/** Whether there is a snapshot with that key or name. */
export function isTaken(text: string, snapshotter: Snapshotter): boolean {
  try {
    snapshotter.stat(text);
    return true;
  } catch (error) {
    if (error instanceof VeneerError && error.code === "not found") return false;
    throw error;
  }
}
