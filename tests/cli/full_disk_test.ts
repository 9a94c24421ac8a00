/**
 * Disks that are full or nearly so: a command works, or says in one line that there is no room, and the store is
 * whole as soon as there is. Giving back what one has works in any case.
 */
import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import type { ImageKind } from "../runner/images.ts";
import { ImageStore } from "../support/processes.ts";
import { IS_LONG, lacksFileSystem, lacksProgram, must, needs, run } from "../support/cases.ts";
import { names } from "../support/files.ts";
import { RoomTrial } from "../support/room.ts";

const KIB = 1024, MIB = 1024 * KIB;

/** Bytes that are left free: all of them in a long run, else some. */
const LEVELS = IS_LONG
  ? [0, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096].map((size) => size * KIB)
  : [0, 64 * KIB, 512 * KIB];

/** The kinds of file systems, with the least size of each that its tools take. */
const DISKS: readonly { driver: "overlay2" | "btrfs"; kind: ImageKind; bytes: number }[] = [
  { driver: "overlay2", kind: "ext4", bytes: 48 * MIB },
  { driver: "overlay2", kind: "xfs", bytes: 320 * MIB },
  { driver: "btrfs", kind: "btrfs", bytes: 160 * MIB },
];

/** Fills a file system to the last byte that root may write, but for some. */
function fill(store: ImageStore, left: number): void {
  const filler = join(store.image.mountPoint, "filler");
  {
    using file = Deno.openSync(filler, { write: true, create: true, append: true });
    for (const size of [MIB, 64 * KIB, 4 * KIB, 1]) {
      const block = new Uint8Array(size);
      // What was written may stand in memory and be found to have no room later.
      for (let hasRoom = true; hasRoom;) {
        try {
          for (let written = 0; written < block.length;) {
            written += file.writeSync(block.subarray(written));
          }
        } catch {
          hasRoom = false;
        }
      }
      run("sync", "--file-system", store.image.mountPoint);
    }
    const { size } = file.statSync();
    assert(size > left, `only ${size} bytes were free`);
    if (left > 0) file.truncateSync(size - left);
  }
  run("sync", "--file-system", store.image.mountPoint);
}

/** Every command on a full disk. Returns those that found no room. */
function runAll(store: ImageStore, tar: string): string[] {
  const out = join(store.image.mountPoint, "out.tar");
  const trial = new RoomTrial(store);
  if (trial.fits("create", "new", "--parent", "base")) {
    trial.fits("apply", "new", tar);
    if (trial.fits("mount", "app")) {
      store.must("umount", "app");
    }
    store.must("rm", "new");
  }
  trial.fits("diff", "app", "--output", out);
  trial.fits("diff", "app", "--parent=", "--output", out);
  trial.fits("changes", "app");
  trial.fits("changes", "app", "--parent=");
  trial.fits("diffsize", "app");
  run("rm", "-f", out);
  // What one has is given back without any room.
  store.must("umount", "held");
  store.must("rm", "held");
  store.must("cleanup");
  store.must("ls");
  return trial.refused;
}

for (const { driver, kind, bytes } of DISKS) {
  needs(
    lacksFileSystem("overlay") ?? lacksFileSystem(kind) ?? lacksProgram(`mkfs.${kind}`),
    `full disk: ${driver} on ${kind}: ${LEVELS.length} levels, and the store is fine after each`,
    () => {
      using store = new ImageStore(driver, kind, bytes);
      const tree = store.path("tree"), tar = store.path("layer.tar");
      Deno.mkdirSync(tree);
      for (let i = 0; i < 64; i++) {
        Deno.writeFileSync(join(tree, `${i}`), new Uint8Array(16 * KIB).fill(i));
      }
      must("tar", "-C", tree, "-cf", tar, ".");
      store.must("create", "base");
      store.must("apply", "base", tar);
      store.must("create", "app", "--parent", "base");
      const changed = join(store.must("mount", "app").trim(), "0");
      Deno.writeTextFileSync(changed, "changed");
      store.must("umount", "app");
      for (const level of LEVELS) {
        store.must("create", "held", "--parent", "base");
        store.must("mount", "held");
        fill(store, level);
        try {
          const refused = runAll(store, tar);
          console.log(
            `${kind}, ${level / KIB} KiB free: no room for ${refused.join(", ") || "none"}`,
          );
          if (level === 0) assert(refused.length > 0, "it was not full");
        } finally {
          Deno.removeSync(join(store.image.mountPoint, "filler"));
        }
        must("sync", "--file-system", store.image.mountPoint);
        assertEquals(names(join(store.root, driver, ".veneer/staging")), [], "staging");
        assertEquals(store.must("ls", "--quiet"), "app\nbase\n");
        assertEquals(store.must("changes", "app"), "C /0\n");
        const entries = names(store.image.mountPoint).filter((name) => name.startsWith("out"));
        assertEquals(entries, []);
        store.must("create", "new", "--parent", "base");
        assertEquals(store.must("apply", "new", tar), `${64 * 16 * KIB}\n`);
        store.must("rm", "new");
      }
      store.removeAll();
    },
  );
}
