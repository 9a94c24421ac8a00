/**
 * Pools that are full or nearly so: a command works, or says in one line that there is no room, and
 * the store is whole as soon as there is. Giving back what one has works in any case.
 */
// @runs on guest ext4
import { assert, assertEquals } from "@std/assert";
import { StoreCommands } from "../../support/commands.ts";
import { IS_LONG, must, needs, run, type TempDir } from "../../support/cases.ts";
import { storeDir } from "../../support/store_dir.ts";
import { RoomTrial } from "../../support/room.ts";
import { assertNoDevices, deviceNames, lacking, SMALL } from "./support.ts";

/** Blocks of 64 KiB that are left free: all of them in a long run, else some. */
const LEVELS = IS_LONG ? [0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64] : [0, 2, 16];

const KIB = 1024, BLOCK = 64 * KIB;

/** A device is larger than the pool, so that one layer can fill that. */
const OPTIONS = [
  ...SMALL,
  "dm.basesize=96M",
  "dm.loopdatasize=64M",
  "dm.min_free_space=0%",
  "dm.when_full=error",
];

/** A store whose pool is small. */
class PoolStore extends StoreCommands implements Disposable {
  readonly #directory: TempDir = storeDir();
  readonly root = this.path("root");
  readonly options: readonly string[] = [
    ...["--root", this.root, "--driver", "devicemapper"],
    ...OPTIONS.flatMap((option) => ["--option", option]),
  ];

  /** A path beside the store. */
  path(name: string): string {
    return `${this.#directory.path}/${name}`;
  }

  /** Free blocks of the pool, and whether it can be written to, as the kernel tells. */
  pool(): { free: number; mode: string } {
    const [name] = deviceNames().filter((name) => name.endsWith("-pool"));
    const status = must("dmsetup", "status", name);
    const [, used, total, mode] = /thin-pool \d+ \d+\/\d+ (\d+)\/(\d+) \S+ (\S+)/.exec(status) ??
      [];
    return { free: Number(total) - Number(used), mode };
  }

  /**
   * Writes to a mounted layer until the pool has so many free blocks, or until it takes no more.
   */
  fill(root: string, left: number): void {
    const append = (blocks: number) =>
      run(
        ...["dd", "if=/dev/zero", `of=${root}/filler`, `bs=${BLOCK}`, `count=${blocks}`] as const,
        ...["conv=notrunc,fsync", "oflag=append", "status=none"],
      ).success;
    // What ext4 itself writes takes blocks, too.
    for (let free = this.pool().free; free > left; free = this.pool().free) {
      const isTaken = append(Math.max(1, Math.floor((free - left) / 2)));
      assert(isTaken || free <= 2, `no write to ${free} free blocks`);
      if (!isTaken) break;
    }
    if (left > 0) return;
    // To the last one, and further.
    for (let i = 0; append(1); i++) assert(i < 64, "it is never full");
  }

  [Symbol.dispose](): void {
    this.run("cleanup");
    this.#directory[Symbol.dispose]();
  }
}

/** Every command on a full pool. Returns those that found no room. */
function runAll(store: PoolStore, tar: string): string[] {
  const trial = new RoomTrial(store);
  if (trial.fits("create", "new", "--parent", "bottom")) {
    trial.fits("apply", "new", tar);
    store.must("rm", "new");
  }
  if (trial.fits("mount", "app")) store.must("umount", "app");
  trial.fits("diff", "app", "--output", store.path("out.tar"));
  trial.fits("changes", "app");
  // What one has is given back without any room.
  store.must("umount", "held");
  store.must("rm", "held");
  store.must("ls");
  return trial.refused;
}

needs(
  lacking,
  `full disk: devicemapper: ${LEVELS.length} levels of its pool, and the store is fine after each`,
  () => {
    using store = new PoolStore();
    const tree = store.path("tree"), tar = store.path("layer.tar");
    Deno.mkdirSync(tree);
    for (let i = 0; i < 64; i++) {
      Deno.writeFileSync(`${tree}/${i}`, new Uint8Array(16 * KIB).fill(i));
    }
    must("tar", "-C", tree, "-cf", tar, ".");
    store.must("create", "bottom");
    store.must("apply", "bottom", tar);
    store.must("create", "app", "--parent", "bottom");
    Deno.writeTextFileSync(`${store.must("mount", "app").trim()}/0`, "changed");
    store.must("umount", "app");
    for (const level of LEVELS) {
      store.must("create", "held", "--parent", "bottom");
      store.fill(store.must("mount", "held").trim(), level);
      const { free } = store.pool();
      const refused = runAll(store, tar);
      console.log(`${free} blocks free: no room for ${refused.join(", ") || "none"}`);
      if (level === 0) assert(refused.length > 0, "it was not full");
      assertEquals(store.must("ls", "--quiet"), "app\nbottom\n");
      assertEquals(store.pool().mode, "rw");
      assertEquals(store.must("changes", "app"), "C /0\n");
      store.must("create", "new", "--parent", "bottom");
      assertEquals(store.must("apply", "new", tar), `${64 * 16 * KIB}\n`);
      store.must("rm", "new");
    }
    for (const id of ["app", "bottom"]) store.must("rm", id);
    store.must("cleanup");
    assertNoDevices(store.root);
  },
);
