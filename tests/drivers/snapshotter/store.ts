/** What must be true of a store of snapshots at rest, whoever did what to it. */
import { assertEquals } from "@std/assert";
import { join } from "@std/path";
import { DatabaseSync } from "node:sqlite";
import type { Snapshotter } from "../../../lib/snapshots/snapshotter.ts";
import { runState } from "../../support/store_dir.ts";

/** The ids of all layers that are on disk in a home, and, in other words, whatever else should not be there. */
export type LayersOnDisk = (home: string) => string[];

/** Names in a directory, sorted; none where there is no directory. */
export function namesIn(path: string): string[] {
  try {
    return [...Deno.readDirSync(path)].map(({ name }) => name).sort();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

/**
 * Checks that every layer on disk is a snapshot's and every snapshot has its layer, that parents are there and
 * committed, and that no intention, half-made layer or lock is left.
 *
 * @param mayHaveLocks whether a process was killed: its empty lock files stay, in `/run`, as long as the machine
 * runs
 */
export function assertConsistent(
  snapshots: Snapshotter,
  layers: LayersOnDisk,
  mayHaveLocks = false,
): void {
  const { home } = snapshots;
  const all = [...snapshots.walk()];
  assertEquals(layers(home).sort(), all.map(({ layer }) => layer).sort(), "layers on disk");
  const committed = new Set(all.filter(({ kind }) => kind === "committed").map(({ name }) => name));
  const orphans = all.filter(({ parent }) => parent !== "" && !committed.has(parent));
  assertEquals(orphans, [], "parents are there and committed");
  assertEquals(namesIn(join(home, ".veneer/staging")), [], "staged layers");
  if (!mayHaveLocks) assertEquals(namesIn(join(runState(home), "layers")), [], "locks of layers");
  assertNoIntents(home);
  using database = new DatabaseSync(join(home, "metadata.db"));
  const [{ integrity_check }] = database.prepare("PRAGMA integrity_check").all();
  assertEquals(integrity_check, "ok");
  assertEquals(database.prepare("PRAGMA foreign_key_check").all(), []);
}

/** Checks that no intention is left in a home, as opening the store would bring to an end. */
export function assertNoIntents(home: string): void {
  using database = new DatabaseSync(join(home, "metadata.db"));
  assertEquals(database.prepare("SELECT * FROM intents").all(), [], "intentions");
}

/** Removes every snapshot, children first, and cleans up. */
export function removeAll(snapshots: Snapshotter): void {
  let left = [...snapshots.walk()];
  while (left.length > 0) {
    const parents = new Set(left.map(({ parent }) => parent));
    for (const { name } of left) if (!parents.has(name)) snapshots.remove(name);
    left = left.filter(({ name }) => parents.has(name));
  }
  assertEquals([...snapshots.walk()], []);
  snapshots.cleanup();
}
