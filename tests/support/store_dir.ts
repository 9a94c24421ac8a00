/** Directories for stores. Disposing of them removes the stores' run-time state as well. */
import { statSync } from "node:fs";
import { join } from "@std/path";
import { tryLstat } from "../../ffi/stat.ts";
import { run, type TempDir, tempDir } from "./cases.ts";

/** The directory of a home's run-time state: `/run/veneer/<device>-<inode>`. */
export function runState(home: string): string {
  const { dev, ino } = statSync(home, { bigint: true });
  // `gnu_dev_major` and `gnu_dev_minor` of sys/sysmacros.h.
  const major = dev >> 8n & 0xfffn | dev >> 32n & ~0xfffn;
  const minor = dev & 0xffn | dev >> 12n & ~0xffn;
  return `/run/veneer/${major}.${minor}-${ino}`;
}

/** A directory of one case, which may have stores at `root`. */
export function storeDir(): TempDir {
  const dir = tempDir();
  const root = join(dir.path, "root");
  return {
    path: dir.path,
    [Symbol.dispose]() {
      const prefixes = homes(root).map(devicePrefix);
      for (const home of homes(root)) {
        try {
          Deno.removeSync(runState(home), { recursive: true });
        } catch (error) {
          if (!(error instanceof Deno.errors.NotFound)) throw error;
        }
      }
      // Committed snapshots and views are read-only.
      const kinds = ["snapshots", "active"].map((kind) => join(root, "snapshots/btrfs", kind));
      for (const path of kinds.flatMap(below)) {
        run("btrfs", "property", "set", "-f", "-t", "subvol", path, "ro", "false");
      }
      dir[Symbol.dispose]();
      for (const prefix of prefixes) removeDevices(prefix);
    },
  };
}

/** The homes of layers and those of snapshots. */
function homes(root: string): string[] {
  return [root, join(root, "snapshots")].flatMap(below);
}

function below(directory: string): string[] {
  try {
    return [...Deno.readDirSync(directory)].map(({ name }) => join(directory, name));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

/** The prefix of the names of a home's device-mapper devices. */
function devicePrefix(home: string): string {
  return `docker-${runState(home).replace("/run/veneer/", "").replace(".", ":")}-`;
}

/** Removes devices that a failed case left active, the pool last. */
function removeDevices(prefix: string): void {
  if (tryLstat("/dev/mapper/control") === undefined) return;
  const left = run("dmsetup", "ls").stdout.split("\n").map((line) => line.split("\t")[0])
    .filter((name) => name.startsWith(prefix));
  const pools = left.filter((name) => name === `${prefix}pool`);
  for (const name of [...left.filter((name) => !pools.includes(name)), ...pools]) {
    run("dmsetup", "remove", "--retry", name);
  }
}
