/** `repair --from DUMP`: a pool's metadata, as the kernel takes it. */
// @runs on guest ext4
import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { restorePoolOf } from "../../lib/care/pool_restoration.ts";
import { checkStore } from "../../lib/care/check.ts";
import { repairStore } from "../../lib/care/repair.ts";
import { devicemapper } from "../../drivers/devicemapper/mod.ts";
import { parseOptions } from "../../lib/base/options.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import { lacksProgram, must, needs, run, tempDir } from "../support/cases.ts";
import { PROGRAM } from "../support/commands.ts";
import { read } from "../support/files.ts";
import { counts, killBefore, points } from "../drivers/kill/killer.ts";
import { lacking, loopDevice, openStore } from "../drivers/devicemapper/support.ts";
import { kindsOf } from "./support.ts";

const CHECKS = await devicemapper.loadChecks!();
const missing = lacking ?? lacksProgram("thin_dump");

/** A store, and the place of its pool's metadata. */
interface Place {
  readonly root: string;
  readonly options: readonly string[];
  readonly metadata: string;
}

const storeOf = ({ root, options }: Place) => ({
  root,
  driver: "devicemapper",
  of: "layers",
  checks: CHECKS,
  options: parseOptions(options),
} as const);

const found = (place: Place) => kindsOf(checkStore(storeOf(place), 0)!);

/** A file of 300 KB, which is in several blocks of data. */
const textOf = (id: string) => id.repeat(100_000 / id.length);

const CHAIN = [["app", "base-layer"], ["top", "app"], ["other", "base-layer"]] as const;

function fill({ root, options }: Place): void {
  using layers = openStore(root, { options });
  layers.create("base-layer");
  for (const [id, parent] of CHAIN) {
    layers.createReadWrite(id, { parent });
    Deno.writeTextFileSync(join(layers.get(id), id), textOf(id));
    layers.put(id);
  }
  layers.cleanup();
}

/** Reads all layers, and makes and removes others, which changes shared blocks. */
function use({ root, options }: Place): void {
  using layers = openStore(root, { options });
  layers.createReadWrite("new", { parent: "top" });
  const files = layers.get("new");
  for (const id of ["app", "top"]) assertEquals(read(join(files, id)), textOf(id));
  Deno.writeTextFileSync(join(files, "app"), textOf("new"));
  layers.put("new");
  for (const [id] of CHAIN) {
    assertEquals(read(join(layers.get(id, { readOnly: true }), id)), textOf(id));
    layers.put(id);
  }
  layers.remove("new");
  layers.cleanup();
}

/** Runs a tool of thin-provisioning-tools; these read devices, and not each file system's files. */
function thin(tool: string, path: string): string {
  if (!Deno.statSync(path).isFile) return must(tool, path);
  const device = must("losetup", "--find", "--show", path).trim();
  try {
    return must(tool, device);
  } finally {
    must("losetup", "--detach", device);
  }
}

const dump = (path: string, to: string) => Deno.writeTextFileSync(to, thin("thin_dump", path));

/** Writes zeros over the beginning of the metadata. */
function destroy(path: string): void {
  must(
    "dd",
    "if=/dev/zero",
    `of=${path}`,
    "bs=4096",
    "count=20",
    "conv=notrunc,fsync",
    "status=none",
  );
}

function damageAndRestore(place: Place, directory: string): void {
  const file = join(directory, "pool.xml"), store = storeOf(place);
  fill(place);
  dump(place.metadata, file);
  // The metadata is lost.
  destroy(place.metadata);
  assertEquals(found(place).length, 1, `${found(place)}`);
  // A dump that is not one changes nothing.
  const bad = join(directory, "bad.xml");
  Deno.writeTextFileSync(bad, read(file).replace("</superblock>", ""));
  assertThrows(() => restorePoolOf(store, bad, false), VeneerError, "the dump is cut short");
  Deno.writeTextFileSync(bad, read(file).replace(/dev_id="(\d+)"/g, 'dev_id="9$1"'));
  assertThrows(() => restorePoolOf(store, bad, false), VeneerError, "another pool's");
  assertEquals(found(place).length, 1);
  assertEquals(restorePoolOf(store, file, true).quarantine, undefined, "only a look");
  assertEquals(found(place).length, 1);
  const { devices, missing, quarantine, path } = restorePoolOf(store, file, false);
  assertEquals([devices, missing, path], [5, 0, place.metadata]);
  assert(quarantine !== undefined);
  thin("thin_check", place.metadata);
  assertEquals(found(place), []);
  use(place);
  thin("thin_check", place.metadata);
  assertEquals(found(place), []);
}

needs(missing, "repair: devicemapper: a pool's metadata image is made from a dump", () => {
  using dir = tempDir();
  const root = join(dir.path, "root"), home = join(root, "devicemapper");
  const place = { root, options: [], metadata: join(home, "devicemapper/metadata") };
  damageAndRestore(place, dir.path);
  // A missing image is made again, by the command; an active pool is refused.
  const file = join(dir.path, "again.xml");
  dump(place.metadata, file);
  Deno.removeSync(place.metadata);
  const [program, ...words] = PROGRAM;
  const repair = () =>
    run(
      program,
      ...words,
      "--root",
      root,
      "-o",
      "dm.loopmetadatasize=8M",
      "repair",
      "--from",
      file,
    );
  const { code, stdout, stderr } = repair();
  assertEquals([code, stderr], [0, ""], stdout);
  assertStringIncludes(stdout, `restored ${place.metadata}: 5 devices, transaction `);
  use(place);
  using layers = openStore(root);
  layers.get("app");
  const refused = repair();
  assertEquals(refused.code, 5);
  assertStringIncludes(refused.stderr, "is active; `veneer --root");
  layers.put("app");
  layers.cleanup();
});

needs(missing, "repair: devicemapper: metadata on a device is made from an older dump", () => {
  using dir = tempDir();
  using data = loopDevice(join(dir.path, "data.img"), 256 << 20);
  using meta = loopDevice(join(dir.path, "meta.img"), 8 << 20);
  const options = [`dm.datadev=${data.path}`, `dm.metadatadev=${meta.path}`];
  const place = { root: join(dir.path, "root"), options, metadata: meta.path };
  damageAndRestore(place, dir.path);
  // The dump does not know a later layer: it is given up, and the others work.
  {
    using layers = openStore(place.root, { options });
    layers.createReadWrite("late", { parent: "other" });
    layers.cleanup();
  }
  const { missing } = restorePoolOf(storeOf(place), join(dir.path, "pool.xml"), false);
  assertEquals(missing, 1);
  const failed = (error: Error) => {
    throw error;
  };
  const { lost } = repairStore(storeOf(place), { isWanted: () => true, failed, pause: 0 })!;
  assertEquals(lost.map(({ name }) => name), ["late"]);
  assertEquals(found(place), []);
  use(place);
});

/** Kills restorations of lost metadata; the next one makes it, from the same dump. */
function killAndRestore(place: Place, directory: string): void {
  const file = join(directory, "pool.xml"), store = storeOf(place);
  fill(place);
  dump(place.metadata, file);
  const child = join(import.meta.dirname!, "restore_pool_child.ts");
  const words = ["run", "--quiet", "--allow-all", "--no-check", child];
  const killAt = (at: number) =>
    killBefore(at, [Deno.execPath(), ...words, place.root, file, ...place.options], counts);
  destroy(place.metadata);
  const { calls } = killAt(Infinity);
  assertEquals(found(place), []);
  // Calls of the runtime vary: one of the last might not be reached.
  for (const at of points(calls.length - 5)) {
    destroy(place.metadata);
    assert(killAt(at).killed, `call ${at}`);
    const left = found(place);
    assert(left.length < 2, `call ${at}: ${left}`);
    restorePoolOf(store, file, false);
    assertEquals(found(place), [], `call ${at}`);
    thin("thin_check", place.metadata);
  }
  use(place);
}

needs(missing, "repair: devicemapper: a kill while an image is made from a dump", () => {
  using dir = tempDir();
  const root = join(dir.path, "root");
  const metadata = join(root, "devicemapper/devicemapper/metadata");
  killAndRestore({ root, options: [], metadata }, dir.path);
});

needs(missing, "repair: devicemapper: a kill while a device is written to from a dump", () => {
  using dir = tempDir();
  using data = loopDevice(join(dir.path, "data.img"), 256 << 20);
  using meta = loopDevice(join(dir.path, "meta.img"), 8 << 20);
  const options = [`dm.datadev=${data.path}`, `dm.metadatadev=${meta.path}`];
  killAndRestore({ root: join(dir.path, "root"), options, metadata: meta.path }, dir.path);
});
