/**
 * The btrfs driver against the comparison of trees, its peer and the kernel's floor, on the btrfs that
 * `VENEER_TEST_DIR` lies on.
 *
 * A delta of 200 files on a base of 200,000 and on one of 2,000: inside one process the driver's search is
 * compared with the comparison of the trees; `veneer changes` and `diff` are compared with those of
 * `containers-storage` as whole commands. How many directory reads a command makes is counted by a trace of
 * its system calls. Making and removing layers is compared with the bare ioctls.
 *
 * @module
 */
import { join } from "@std/path";
import * as btrfs from "../drivers/btrfs/driver.ts";
import { openDriver } from "../tests/support/drivers.ts";
import { createSnapshot, tryDestroySubvolume } from "../ffi/btrfs_subvolume.ts";
import { entryName } from "../ffi/entry_name.ts";
import { O_DIRECTORY, O_RDONLY, O_WRONLY, open, withFd } from "../ffi/files.ts";
import { rename } from "../ffi/paths.ts";
import { unwrap } from "../ffi/unwrap.ts";
import { treeDelta } from "../lib/tar/export/delta.ts";
import { IDENTITY } from "../lib/base/id_maps.ts";
import { compare, type Contender, report, run } from "./measure.ts";
import { DIRECTORY, QUICK, VENEER } from "./subject.ts";

const root = join(DIRECTORY, "root");
const BASES = QUICK ? [2_000, 20_000] : [2_000, 200_000];
const turns = QUICK ? 3 : 5;

const warn = (message: string) => console.error(message);
const open_ = { root, options: new Map<string, string>(), idMaps: IDENTITY, warn };
const store = openDriver({ ...open_, driver: "btrfs", options: [] });
const backend = btrfs.open(open_);
const layer = (id: string) => backend.mountPoint(id);

console.log("== btrfs, as ratios of medians (least to most)");
for (const files of BASES) makePair(files);
await benchInProcess();
for (const command of ["changes", "diff"]) await benchCommand(command);
countDirectoryReads();
await benchRemove();
await benchCreate();

/** Files of half a kilobyte, a hundred in a directory. */
function makeFiles(at: string, count: number): void {
  const content = new Uint8Array(512);
  for (let i = 0; i < count; i++) {
    if (i % 100 === 0) Deno.mkdirSync(join(at, `d${i / 100}`));
    content.fill(i & 255);
    Deno.writeFileSync(join(at, pathOf(i)), content);
  }
}

function pathOf(i: number): string {
  return `d${Math.floor(i / 100)}/f${i}`;
}

/** 200 files in the first 20 directories: rewritten, removed, renamed or new. */
function change(at: string): void {
  for (let n = 0; n < 200; n++) {
    const path = join(at, pathOf(10 * n));
    if (n % 4 === 0) Deno.removeSync(path);
    else if (n % 4 === 1) Deno.renameSync(path, `${path}-renamed`);
    else if (n % 4 === 2) Deno.writeTextFileSync(`${path}-new`, "new");
    else Deno.writeTextFileSync(path, "rewritten");
  }
}

function makePair(files: number): void {
  const [base, child] = [`base-${files}`, `child-${files}`];
  store.create(base);
  makeFiles(layer(base), files);
  store.create(child, { parent: base });
  change(layer(child));
  peer("create-layer", "--id", base);
  makeFiles(peerLayer(base), files);
  peer("create-layer", "--id", child, base);
  change(peerLayer(child));
}

/** The peer's package has no btrfs in its configuration: it gets one of its own. */
function peer(...args: string[]): void {
  const configuration = join(DIRECTORY, "storage.conf");
  Deno.writeTextFileSync(
    configuration,
    `[storage]\ndriver = "btrfs"\ngraphroot = "${DIRECTORY}/peer"\nrunroot = "${DIRECTORY}/peer-run"\n`,
  );
  Deno.env.set("CONTAINERS_STORAGE_CONF", configuration);
  run("containers-storage", ...args);
}

function peerLayer(id: string): string {
  return join(DIRECTORY, "peer/btrfs/subvolumes", id);
}

/** Goes through all changes, or writes them as a tar to nowhere. */
async function benchInProcess(): Promise<void> {
  const nowhere = open("/dev/null", O_WRONLY);
  for (const what of ["changes", "diff"] as const) {
    const contenders: Contender[] = BASES.flatMap((files) => {
      const child = `child-${files}`;
      const trees = treeDelta(layer(child), layer(`base-${files}`));
      return [
        {
          name: `${what}, base of ${files}`,
          run: () => {
            if (what === "changes") { for (const _ of store.changes(child, undefined)); }
            else store.diff(child, undefined, nowhere);
          },
        },
        {
          name: `trees compared, base of ${files}`,
          run: () => {
            if (what === "changes") { for (const _ of trees.changes()); }
            else trees.export(nowhere, { idMaps: IDENTITY });
          },
        },
      ];
    });
    const results = await compare(contenders, turns);
    const largest = `${what}, base of ${BASES.at(-1)}`;
    report(
      `${what} of a 200-file delta, in process`,
      results,
      largest,
      "10 times faster than trees; the same on both bases",
    );
  }
}

async function benchCommand(command: string): Promise<void> {
  const contenders = BASES.flatMap((files): Contender[] => [
    {
      name: `veneer ${command}, base of ${files}`,
      run: () => run(VENEER[0], ...VENEER.slice(1), "--root", root, command, `child-${files}`),
    },
    {
      name: `containers-storage ${command}, base of ${files}`,
      run: () => peer(command, `child-${files}`),
    },
  ]);
  const results = await compare(contenders, turns);
  report(
    `${command} of a 200-file delta, whole commands`,
    results,
    `veneer ${command}, base of ${BASES.at(-1)}`,
    "10 times faster than the peer",
  );
}

function countDirectoryReads(): void {
  console.log("\ndirectory reads (getdents64) of `veneer changes` by strace   (aim: the same)");
  for (const files of BASES) {
    const trace = join(DIRECTORY, "trace");
    const args = [...VENEER, "--root", root, "changes", `child-${files}`];
    run("strace", "-f", "-e", "trace=getdents64", "-o", trace, ...args);
    const calls = Deno.readTextFileSync(trace).match(/getdents64\(/g)?.length ?? 0;
    console.log(`  base of ${files}`.padEnd(48) + `${calls}`.padStart(5));
  }
}

/**
 * A layer of 15,000 files: all of a removal, against the one ioctl it cannot do without. Most of that ioctl is
 * throwing away what the kernel has cached of the layer, so both are measured: right after the layer was
 * written, and as it is when nobody has used it for a while.
 */
async function benchRemove(): Promise<void> {
  const count = QUICK ? 1_500 : 15_000;
  for (const cached of [false, true]) {
    const make = () => {
      store.create("removed");
      makeFiles(layer("removed"), count);
      run("sync", "-f", DIRECTORY);
      if (!cached) Deno.writeTextFileSync("/proc/sys/vm/drop_caches", "3");
    };
    const results = await compare([
      {
        name: "SNAP_DESTROY",
        before: () => {
          make();
          rename(layer("removed"), join(DIRECTORY, "bare"));
        },
        run: () =>
          inDirectory(
            DIRECTORY,
            (fd) => unwrap(tryDestroySubvolume(fd, entryName("bare")), "destroy"),
          ),
        after: () => backend.home.forget("removed"),
      },
      { name: "remove", before: make, run: () => store.remove("removed") },
    ], turns);
    const state = cached ? "just written" : "not in use for a while";
    report(
      `remove a layer of ${count} files, ${state}, in process`,
      results,
      "SNAP_DESTROY",
      cached ? undefined : "under 5 ms",
    );
  }
}

async function benchCreate(): Promise<void> {
  const base = `base-${BASES[0]}`;
  const results = await compare([
    {
      name: "SNAP_CREATE_V2",
      run: () =>
        inDirectory(
          DIRECTORY,
          (fd) =>
            inDirectory(layer(base), (source) => createSnapshot(fd, entryName("bare"), source)),
        ),
      after: () => inDirectory(DIRECTORY, (fd) => tryDestroySubvolume(fd, entryName("bare"))),
    },
    {
      name: "create from a parent",
      run: () => store.create("created", { parent: base }),
      after: () => store.remove("created"),
    },
  ], 10 * turns);
  report("create a layer from a parent, in process", results, "SNAP_CREATE_V2", "1.2");
}

function inDirectory(path: string, use: (fd: number) => void): void {
  withFd(open(path, O_RDONLY | O_DIRECTORY), use);
}
