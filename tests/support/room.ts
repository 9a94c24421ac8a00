/**
 * Commands on a disk that may be full: each must work, or fail with one line about the missing
 * space.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { EXIT_STATUS } from "../../lib/cli/exit_status.ts";
import type { StoreCommands } from "./commands.ts";

/** Runs commands on a store, and remembers those that failed because the disk is full. */
export class RoomTrial {
  readonly refused: string[] = [];

  /** Reads the store, which needs no space. A size that cannot be determined is a warning. */
  constructor(readonly store: StoreCommands) {
    store.must("ls");
    store.must("status");
    const { code, stderr } = store.run("tree");
    assertEquals(code, 0, stderr);
    assertMatch(stderr, /^(veneer: warning: no size of [^\n]+\n)*$/);
  }

  /** Runs a command that may fail because the disk is full; returns whether it succeeded. */
  fits(...args: string[]): boolean {
    const { code, stderr } = this.store.run(...args);
    const what = `veneer ${args.join(" ")}: ${code}: ${stderr}`;
    assert(code === 0 || code === EXIT_STATUS["limit exceeded"], what);
    if (code === 0) assertEquals(stderr, "", what);
    else assertMatch(stderr, /^veneer: [^\n]+\n$/, what);
    if (code !== 0) this.refused.push(args[0]);
    return code === 0;
  }
}
