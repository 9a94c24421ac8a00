/** How a case about snapshots is run: on a store of its own, which is emptied and looked at afterwards. */
import type { ForeignUses } from "../../../lib/base/opened.ts";
import type { Snapshotter } from "../../../lib/snapshots/snapshotter.ts";
import { mountPoints, needs } from "../../support/cases.ts";
import { assertEquals } from "@std/assert";
import { storeDir } from "../../support/store_dir.ts";
import { assertConsistent, assertNoIntents, type LayersOnDisk, removeAll } from "./store.ts";

/** A driver under test. */
export interface SnapshotterSubject {
  /** Begins every case's name. */
  readonly name: string;
  /** Opens a store, the same each time for the same root. */
  readonly open: (root: string, foreignUses?: ForeignUses) => Snapshotter;
  /** Why the driver does not run here, if it does not. */
  readonly lacking?: string;
  /** What is on disk, read past the driver. */
  readonly layers: LayersOnDisk;
  /** How many committed snapshots may lie below another. */
  readonly maxDepth: number;
  /**
   * What is in a snapshot that a service committed between two writes to it, `before` and ` and after`; left out
   * where the driver refuses that.
   */
  readonly committedMounted?: "before" | "before and after";
  /** Whether a mount of a view shows its parent's layers alone, and the view itself is removed meanwhile. */
  readonly viewsAreParents: boolean;
  /** Whether a directory that the parent has can be renamed. */
  readonly renamesDirectories: boolean;
  /** Whether a commit may name another parent. */
  readonly rebases: boolean;
  /** Whether usage counts inodes. */
  readonly countsInodes: boolean;
  /** How many MiB a snapshot may take beyond what is written to it; 1 where left out. */
  readonly overhead?: number;
}

/** A store of a case's own. */
export interface Store {
  readonly snapshots: Snapshotter;
  /** A directory for the case's files, outside the store. */
  readonly scratch: string;
  readonly root: string;
  /** The same store as another process would open it. */
  reopen(foreignUses?: ForeignUses): Snapshotter;
}

/** Registers cases for a driver. */
export class SnapshotterSuite {
  constructor(readonly subject: SnapshotterSubject) {}

  case(name: string, body: (store: Store) => void, lacking = this.subject.lacking): void {
    needs(lacking, `${this.subject.name} snapshots: ${name}`, () => {
      using dir = storeDir();
      const root = `${dir.path}/root`, scratch = `${dir.path}/scratch`;
      Deno.mkdirSync(scratch);
      const opened: Snapshotter[] = [];
      const reopen = (foreignUses?: ForeignUses) => {
        opened.push(this.subject.open(root, foreignUses));
        return opened.at(-1)!;
      };
      try {
        body({ snapshots: reopen(), scratch, root, reopen });
        assertNoIntents(opened[0].home);
        const snapshots = reopen();
        assertEquals(mountPoints(dir.path), [], "the case left mounts");
        assertConsistent(snapshots, this.subject.layers);
        removeAll(snapshots);
        assertConsistent(snapshots, this.subject.layers);
        assertEquals([...Deno.readDirSync(dir.path)].length, 2, "the store keeps to its root");
      } finally {
        for (const snapshots of opened) snapshots.close();
      }
    });
  }
}
