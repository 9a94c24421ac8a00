/** Every record, link and directory of every driver's layout, damaged in every way. */
// @runs on ext4, btrfs
// @runs long on xfs
import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import type { Repaired } from "../../lib/care/repair.ts";
import { lacksFileSystem, must, needs, TEST_FS } from "../support/cases.ts";
import { openDriver, openSnapshotter } from "../support/drivers.ts";
import { names, read } from "../support/files.ts";
import { storeDir } from "../support/store_dir.ts";
import { damageAll, poolMetadata, type Thing } from "./support.ts";

const set = (path: string, content: string | Uint8Array) => {
  Deno.mkdirSync(join(path, ".."), { recursive: true });
  if (typeof content === "string") Deno.writeTextFileSync(path, content);
  else Deno.writeFileSync(path, content);
};

/** Veneer's own directories, of a driver. */
const OWN: Thing[] = [
  ...["staging", "incomplete", "parents", "id-maps"].map((name): Thing => ({
    path: `.veneer/${name}`,
    is: "directory",
    // Their records go with them.
    kinds: [name, "parent", "id-maps"],
    isOptional: true,
  })),
  {
    path: ".veneer/id-maps/app",
    is: "record",
    kinds: ["id-maps"],
    isOptional: true,
  },
  {
    path: ".veneer/incomplete/app",
    is: "record",
    kinds: ["incomplete-mark"],
    isOptional: true,
    isMark: true,
  },
];

const isBtrfs = TEST_FS.startsWith("btrfs");
const refused = isBtrfs ? "overlay2 does not open on btrfs unless told to" : undefined;
const same = isBtrfs ? "it reads the same files on every file system" : undefined;

const MAPS = "0:100000:65536\n0:100000:65536";

const parent = (id: string, twin: string): Thing => ({
  path: `.veneer/parents/${id}`,
  is: "record",
  kinds: ["parent"],
  isOptional: true,
  mayBeEmpty: true,
  twin,
});

/** The layers that were not lost are there, and have their own files and those of the layers below. */
const examine = (driver: string) => (root: string, { lost, mended }: Repaired) => {
  // All layers were in it.
  if (mended.some(({ kind }) => kind === "subvolumes-not-a-directory")) return;
  using layers = openDriver({ root, driver, warn: () => {} });
  const gone = new Set(lost.map(({ name }) => name));
  const trees: Record<string, string[]> = {
    base: ["base"],
    app: ["app", "base"],
    top: ["app", "base", "top"],
    other: ["other"],
  };
  for (const [id, files] of Object.entries(trees)) {
    // The damage itself may have been that one is removed.
    if (gone.has(id) || !layers.exists(id) && ["app", "top"].includes(id)) continue;
    assert(layers.exists(id), id);
    const { incomplete } = layers.layers().find((layer) => layer.id === id)!;
    if (incomplete) continue;
    assertEquals(names(layers.get(id, { readOnly: true })), files, id);
    layers.put(id);
  }
  layers.cleanup();
};

/** A store of four layers with a file each, of which the other's is no one's parent. */
function makeLayers(root: string, driver: string, directory: (id: string) => string): void {
  using layers = openDriver({ root, driver });
  for (const [id, parent] of [["base"], ["app", "base"], ["top", "app"], ["other"]]) {
    layers.create(id, { parent });
    set(join(root, driver, directory(id), id), id);
  }
}

needs(
  refused ?? lacksFileSystem("overlay"),
  "care: overlay2: every damage of every part of a layer",
  () => {
    using dir = storeDir();
    const root = join(dir.path, "root"), driver = "overlay2";
    makeLayers(root, driver, (id) => `${id}/diff`);
    const link = (id: string) => `l/${read(join(root, driver, id, "link"))}`;
    const things: Thing[] = [
      ...["base", "app", "top"].flatMap((id): Thing[] => [
        { path: `${id}/link`, is: "record", kinds: ["link", "short-link"], twin: "other/link" },
        { path: `${id}/diff`, is: "directory", kinds: ["diff"] },
        { path: link(id), is: "directory", kinds: ["short-link"] },
      ]),
      ...["app", "top"].flatMap((id): Thing[] => [
        {
          path: `${id}/lower`,
          is: "record",
          kinds: ["lower"],
          twin: id === "app" ? "top/lower" : "app/lower",
        },
        { path: `${id}/work`, is: "directory", kinds: ["work"] },
        {
          path: id,
          is: "directory",
          kinds: ["layer", "lower-dangling", "short-link-dangling"],
        },
      ]),
      ...OWN.filter(({ is }) => is === "directory"),
    ];
    const count = damageAll({ root, scratch: dir.path, driver, examine: examine(driver) }, things);
    assert(count >= 60, `${count} damages`);
  },
);

needs(
  TEST_FS === "btrfs" ? undefined : "it needs btrfs",
  "care: btrfs: every damage of every part of a layer",
  () => {
    using dir = storeDir();
    const root = join(dir.path, "root"), driver = "btrfs";
    const make = (root: string) => {
      makeLayers(root, driver, (id) => `subvolumes/${id}`);
      const add = (id: string, name: string) =>
        set(join(root, driver, "subvolumes", id, name), name);
      add("app", "base");
      add("top", "base");
      add("top", "app");
      for (const id of ["app", "other"]) set(join(root, driver, "quotas", id), "12884901888");
    };
    make(root);
    const things: Thing[] = [
      ...["app", "other"].map((id): Thing => ({
        path: `quotas/${id}`,
        is: "record",
        kinds: ["quota"],
        isOptional: true,
      })),
      parent("app", ".veneer/parents/top"),
      parent("top", ".veneer/parents/app"),
      parent("base", ".veneer/parents/app"),
      ...["base", "app", "top"].map((id): Thing => ({
        path: `subvolumes/${id}`,
        is: "directory",
        kinds: ["layer", "parent-dangling"],
        isOptional: id !== "app",
      })),
      { path: "subvolumes", is: "directory", kinds: ["subvolumes"], isOptional: true },
      { path: "quotas", is: "directory", kinds: ["quotas"], isOptional: true },
      ...OWN.filter(({ is }) => is === "directory"),
    ];
    // A copy of a store would be one of plain directories.
    const store = { root, scratch: dir.path, driver, make, examine: examine(driver) };
    const count = damageAll(store, things);
    assert(count >= 60, `${count} damages`);
  },
);

needs(same, "care: aufs: every damage of every part of a layer", () => {
  using dir = storeDir();
  const root = join(dir.path, "root"), driver = "aufs", home = join(root, driver);
  for (
    const [id, chain] of Object.entries({ base: "", app: "base\n", top: "app\nbase\n", other: "" })
  ) {
    for (const tree of ["diff", "mnt"]) Deno.mkdirSync(join(home, tree, id), { recursive: true });
    set(join(home, "layers", id), chain);
  }
  for (const { path } of OWN.filter(({ is }) => is === "directory")) {
    Deno.mkdirSync(join(home, path), { recursive: true });
  }
  set(join(home, ".veneer/id-maps/app"), MAPS);
  set(join(home, ".veneer/incomplete/app"), "");
  const things: Thing[] = [
    ...["base", "app", "top"].map((id): Thing => ({
      path: `layers/${id}`,
      is: "record",
      kinds: ["record"],
      mayBeEmpty: id !== "app",
      twin: id === "top" ? "layers/base" : "layers/top",
    })),
    ...["base", "app", "top"].flatMap((id): Thing[] => [
      { path: `diff/${id}`, is: "directory", kinds: ["diff"] },
      { path: `mnt/${id}`, is: "directory", kinds: ["mnt"] },
    ]),
    { path: "layers", is: "directory", kinds: ["layers", "record-missing"] },
    { path: "diff", is: "directory", kinds: ["diff"] },
    { path: "mnt", is: "directory", kinds: ["mnt"] },
    ...OWN,
  ];
  const count = damageAll({ root, scratch: dir.path, driver }, things);
  assert(count >= 60, `${count} damages`);
});

needs(same, "care: devicemapper: every damage of every record", () => {
  using dir = storeDir();
  const root = join(dir.path, "root"), driver = "devicemapper", home = join(root, driver);
  const device = (number: number) =>
    JSON.stringify({
      device_id: number,
      size: 10737418240,
      transaction_id: number,
      initialized: false,
      deleted: false,
    });
  for (const [id, number] of Object.entries({ base: 1, app: 2, top: 3, other: 4 })) {
    set(join(home, "metadata", id), device(number));
  }
  Deno.mkdirSync(join(home, "mnt"));
  set(join(home, "metadata/deviceset-metadata"), '{"next_device_id":5}');
  set(join(home, "metadata/transaction-metadata"), '{"open_transaction_id":4}');
  set(join(home, "devicemapper/data"), "data");
  set(join(home, "devicemapper/metadata"), poolMetadata(4, [[1, 0], [2, 1], [3, 2], [4, 3]]));
  for (const { path } of OWN.filter(({ is }) => is === "directory")) {
    Deno.mkdirSync(join(home, path), { recursive: true });
  }
  for (const [id, above] of Object.entries({ app: "", top: "app", other: "" })) {
    set(join(home, ".veneer/parents", id), above);
  }
  set(join(home, ".veneer/id-maps/app"), MAPS);
  set(join(home, ".veneer/incomplete/app"), "");
  const things: Thing[] = [
    ...["app", "top"].map((id): Thing => ({
      path: `metadata/${id}`,
      is: "record",
      kinds: ["device", "parent-dangling"],
      twin: "metadata/other",
      // Without its record a layer is none.
      isOptional: id === "top",
    })),
    { path: "metadata/base", is: "record", kinds: ["base-device"], isUnmendable: true },
    ...["deviceset-metadata", "transaction-metadata"].map((name): Thing => ({
      path: `metadata/${name}`,
      is: "record",
      kinds: [name],
      isOptional: true,
    })),
    { path: "mnt", is: "directory", kinds: ["mnt"], isOptional: true },
    parent("app", ".veneer/parents/top"),
    parent("top", ".veneer/parents/other"),
    ...OWN,
  ];
  const count = damageAll({ root, scratch: dir.path, driver }, things);
  assert(count >= 60, `${count} damages`);
});

needs(refused ?? lacksFileSystem("overlay"), "care: snapshots: every damage of every part", () => {
  using dir = storeDir();
  const root = join(dir.path, "root"), driver = "overlay2";
  const layers: Record<string, string> = {};
  {
    using snapshots = openSnapshotter({ root, driver });
    snapshots.prepare("one", "");
    snapshots.commit("base", "one");
    snapshots.prepare("two", "base");
    snapshots.commit("app", "two");
    snapshots.prepare("work", "app");
    snapshots.prepare("other", "");
    for (const { name, layer } of snapshots.walk()) layers[name] = layer;
  }
  const home = join(root, "snapshots/overlay2");
  const { DatabaseSync } = process.getBuiltinModule("node:sqlite");
  {
    using database = new DatabaseSync(join(home, "metadata.db"));
    database.exec("PRAGMA wal_checkpoint(TRUNCATE)");
  }
  for (const suffix of ["-wal", "-shm", "-reserve"]) {
    must("rm", "-f", join(home, `metadata.db${suffix}`));
  }
  const things: Thing[] = [
    { path: "metadata.db", is: "record", kinds: ["database"], twin: `../../text` },
    ...["base", "app", "work", "other"].flatMap((name): Thing[] => [
      { path: `snapshots/${layers[name]}/fs`, is: "directory", kinds: ["snapshot-fs"] },
      {
        path: `snapshots/${layers[name]}`,
        is: "directory",
        kinds: ["snapshot-fs", "snapshot-work"],
      },
    ]),
    { path: `snapshots/${layers.work}/work`, is: "directory", kinds: ["snapshot-work"] },
    { path: "snapshots", is: "directory", kinds: ["snapshot"] },
    ...OWN.filter(({ is }) => is === "directory"),
  ];
  set(join(root, "text"), "a text\n");
  const count = damageAll({
    root,
    scratch: dir.path,
    driver,
    of: "snapshots",
    examine: (root) => {
      using snapshots = openSnapshotter({ root, driver });
      snapshots.prepare("new", "");
      snapshots.remove("new");
    },
  }, things);
  assert(count >= 60, `${count} damages`);
});
