/** Directories for stores, whose run-time state goes with them. */
import { statSync } from "node:fs";
import { join } from "@std/path";
import { type TempDir, tempDir } from "../support.ts";

/** Where the run-time state of a home is: `/run/veneer/<device>-<inode>`. */
export function runState(home: string): string {
  const { dev, ino } = statSync(home, { bigint: true });
  // `gnu_dev_major` and `gnu_dev_minor` of sys/sysmacros.h.
  const major = dev >> 8n & 0xfffn | dev >> 32n & ~0xfffn;
  const minor = dev & 0xffn | dev >> 12n & ~0xffn;
  return `/run/veneer/${major}.${minor}-${ino}`;
}

/** A directory of a case's own that may hold stores at `root`. */
export function storeDir(): TempDir {
  const dir = tempDir();
  const root = join(dir.path, "root");
  return {
    path: dir.path,
    [Symbol.dispose]() {
      for (const home of homes(root)) {
        try {
          Deno.removeSync(runState(home), { recursive: true });
        } catch (error) {
          if (!(error instanceof Deno.errors.NotFound)) throw error;
        }
      }
      dir[Symbol.dispose]();
    },
  };
}

function homes(root: string): string[] {
  try {
    return [...Deno.readDirSync(root)].map(({ name }) => join(root, name));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}
