/** What the cases of `repair --from` share: a store with a layer, and the damages of its files. */
import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { DRIVERS } from "../../drivers/names.ts";
import { isReadOnly, setReadOnly } from "../../ffi/btrfs_subvolume.ts";
import { O_DIRECTORY, O_RDONLY, open, withFd } from "../../ffi/files.ts";
import { type CheckedStore, checkStore } from "../../lib/care/check.ts";
import { restoreLayer } from "../../lib/care/restore.ts";
import { restoredLayers, restoredSnapshots } from "../../lib/care/restored_store.ts";
import type { Restoration } from "../../lib/care/restoring.ts";
import { ConfinedRoot } from "../../lib/tree/confined.ts";
import { must } from "../support/cases.ts";
import { openDriver, openSnapshotter } from "../support/drivers.ts";
import { treeLines } from "../drivers/same_tree/trees.ts";

const CHECKS = new Map(
  await Promise.all(
    DRIVERS.map(async ({ name, loadChecks }) => [name, await loadChecks?.()] as const),
  ),
);

/** A store of one kind at a root. */
export interface Place {
  readonly root: string;
  readonly driver: string;
  readonly of: CheckedStore["of"];
  readonly options?: readonly string[];
}

export const storeOf = ({ root, driver, of }: Place): CheckedStore => ({
  root,
  driver,
  of,
  checks: CHECKS.get(driver),
});

/** The layer or snapshot that is damaged, between one below it and one on it. */
export const APP = "app";

/** Makes the tars of the two layers in a directory; returns their paths. */
export function makeTars(directory: string): { base: string; app: string } {
  const [base, app] = ["base", APP].map((name) => join(directory, name));
  const write = (path: string, text: string) => Deno.writeTextFileSync(path, text);
  must("mkdir", "-p", join(base, "etc"), join(app, "etc"), join(app, "bin"), join(app, "lib/deep"));
  write(join(base, "etc/base"), "base");
  write(join(app, "etc/app"), "app");
  write(join(app, "bin/tool"), "x".repeat(9000));
  for (let i = 0; i < 6; i++) write(join(app, `lib/${i}`), `content ${i}`);
  write(join(app, "lib/deep/one"), "1");
  must("ln", "-s", "tool", join(app, "bin/link"));
  must("mkfifo", join(app, "bin/fifo"));
  must("setfattr", "-n", "user.key", "-v", "value", join(app, "bin/tool"));
  for (const tree of [base, app]) {
    must("tar", "-C", tree, "--xattrs", "-cf", `${tree}.tar`, ".");
  }
  return { base: `${base}.tar`, app: `${app}.tar` };
}

/** Fills a store: `below`, on it {@linkcode APP}, and on that `top`; all committed but the last. */
export function fill(place: Place, tars: { base: string; app: string }): void {
  if (place.of === "layers") {
    using layers = openDriver(place);
    for (const [id, parent, tar] of [["below", "", tars.base], [APP, "below", tars.app]]) {
      layers.create(id, { parent });
      layers.applyDiff(id, undefined, tar);
    }
    layers.create("top", { parent: APP });
    return;
  }
  using snapshots = openSnapshotter(place);
  for (const [name, parent, tar] of [["below", "", tars.base], [APP, "below", tars.app]]) {
    snapshots.prepare("key", parent);
    snapshots.applyDiff("key", tar);
    snapshots.commit(name, "key");
  }
  snapshots.prepare("top", APP);
}

/** The id on disk. */
function layerOf(place: Place, name: string): string {
  if (place.of === "layers") return name;
  return checkStore(storeOf(place), 0)!.rows!.snapshots.find((row) => row.name === name)!.layer;
}

/** Runs `use` on the directory of a layer's own files, which it may change. */
export function inFiles<T>(place: Place, name: string, use: (directory: string) => T): T {
  const { root, driver, of } = place, id = layerOf(place, name);
  if (driver === "devicemapper") {
    using store = of === "layers" ? openDriver(place) : openSnapshotter(place);
    using scope = new DisposableStack();
    return use(`/proc/${Deno.pid}/fd/${store.openFiles(name, scope)}/.`);
  }
  const home = join(root, of === "layers" ? driver : `snapshots/${driver}`);
  if (driver !== "btrfs") {
    return use(join(home, of === "layers" ? `${id}/diff` : `snapshots/${id}/fs`));
  }
  const own = join(home, of === "layers" ? `subvolumes/${id}` : id.replace(".", "/"));
  return withFd(open(own, O_RDONLY | O_DIRECTORY), (fd) => {
    const isSealed = isReadOnly(fd);
    if (isSealed) setReadOnly(fd, false);
    const result = use(own);
    if (isSealed) setReadOnly(fd, true);
    return result;
  });
}

/** Restores {@linkcode APP} as the command does. */
export function restore(place: Place, from: string, isDry = false): Restoration {
  const store = storeOf(place), id = layerOf(place, APP);
  using scope = new DisposableStack();
  const layers = place.of === "layers"
    ? restoredLayers(scope.use(openDriver(place)))
    : restoredSnapshots(scope.use(openSnapshotter(place)));
  return withFd(open(from, O_RDONLY), (fd) => {
    const isTar = Deno.statSync(from).isFile;
    const source = isTar ? fd : ConfinedRoot.of(from, fd);
    return restoreLayer({ store, layers, id, source, isDry });
  });
}

/** Everything of every file of a layer but the times of directories. */
export const linesOf = (place: Place, name: string): string[] =>
  inFiles(place, name, (path) => treeLines(path, { since: 0n, timeless: true }));

/** Damages, and what is restored. */
export const DAMAGES: Readonly<Record<string, [(own: string) => void, ...string[]]>> = {
  "a file emptied": [(own) => Deno.writeTextFileSync(join(own, "lib/1"), ""), "/lib/1 damaged"],
  "a file shortened": [(own) => Deno.writeTextFileSync(join(own, "lib/2"), "c"), "/lib/2 damaged"],
  "a bit flipped": [
    (own) => Deno.writeTextFileSync(join(own, "etc/app"), "apP"),
    "/etc/app damaged",
  ],
  "another time": [
    (own) => must("touch", "-d", "2001-01-01", join(own, "lib/3")),
    "/lib/3 damaged",
  ],
  "another mode": [(own) => Deno.chmodSync(join(own, "lib/5"), 0o777), "/lib/5 damaged"],
  "another owner": [(own) => Deno.chownSync(join(own, "lib/4"), 1, 1), "/lib/4 damaged"],
  "an attribute lost": [
    (own) => must("setfattr", "-x", "user.key", join(own, "bin/tool")),
    "/bin/tool damaged",
  ],
  "a link replaced by a file": [(own) => {
    Deno.removeSync(join(own, "bin/link"));
    Deno.writeTextFileSync(join(own, "bin/link"), "a file");
  }, "/bin/link damaged"],
  "a file replaced by a directory": [(own) => {
    Deno.removeSync(join(own, "lib/0"));
    must("mkdir", "-p", join(own, "lib/0/sub"));
    Deno.writeTextFileSync(join(own, "lib/0/sub/kept"), "kept");
  }, "/lib/0 damaged"],
  "a fifo removed": [(own) => Deno.removeSync(join(own, "bin/fifo")), "/bin/fifo missing"],
  "a file removed": [(own) => Deno.removeSync(join(own, "lib/deep/one")), "/lib/deep/one missing"],
  "a directory removed": [
    (own) => Deno.removeSync(join(own, "lib/deep"), { recursive: true }),
    "/lib/deep missing",
    "/lib/deep/one missing",
  ],
  "a directory replaced by a file": [
    (own) => {
      Deno.removeSync(join(own, "lib/deep"), { recursive: true });
      Deno.writeTextFileSync(join(own, "lib/deep"), "");
    },
    "/lib/deep damaged",
    "/lib/deep/one missing",
  ],
  "another mode of a directory": [(own) => Deno.chmodSync(join(own, "etc"), 0o700), "/etc damaged"],
};

/**
 * Damages the files of {@linkcode APP} in each way. A dry run tells of it and changes nothing, the
 * next one restores it, and another one finds nothing. Layers on it stay as they are.
 */
export async function restoreEach(t: Deno.TestContext, place: Place, from: string): Promise<void> {
  const right = linesOf(place, APP), above = linesOf(place, "top");
  assertEquals(restore(place, from).restored, [], "a healthy one");
  for (const [name, [damage, ...found]] of Object.entries(DAMAGES)) {
    await t.step(name, () => {
      inFiles(place, APP, damage);
      const damaged = linesOf(place, APP);
      const dry = restore(place, from, true);
      assertEquals(linesOf(place, APP), damaged, "after a dry run");
      const { restored, quarantine } = restore(place, from);
      assertEquals(dry.restored, restored);
      const lines = restored.map(({ path, fault }) => `${path} ${fault}`);
      assertEquals(found.filter((line) => !lines.includes(line)), [], lines.join(", "));
      assertEquals(linesOf(place, APP), right);
      assertEquals(linesOf(place, "top"), above, "the layer on it");
      assert(quarantine !== undefined && Deno.statSync(quarantine).isDirectory);
      assertEquals(restore(place, from).restored, [], "a second run");
    });
  }
  assertEquals(checkStore(storeOf(place), 0)!.findings, []);
}
