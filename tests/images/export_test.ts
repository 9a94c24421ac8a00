/**
 * Exporting images: the very layers that came in, in every form, or an error that names the file.
 */
// @runs on ext4, btrfs
// @runs long on xfs
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { join } from "@std/path";
import { gunzipSync, gzipSync, zstdDecompressSync } from "node:zlib";
import { VeneerError } from "../../lib/base/errors.ts";
import type { ExportOptions } from "../../lib/images/export.ts";
import {
  dir,
  file,
  hardlink,
  pax,
  symlink,
  tar,
  type TarEntry,
} from "../tar/support/tar_builder.ts";
import { lacksFileSystem, must, needs, TEST_FS } from "../support/cases.ts";
import {
  type BuiltLayer,
  chainsOf,
  hex,
  image,
  layer,
  OCI_LAYER,
  oneImage,
  sha256,
  writeFiles,
} from "./builder.ts";
import { imageStore, snapshotNames, withTree } from "./support.ts";

const lacking = TEST_FS.startsWith("btrfs") ? undefined : lacksFileSystem("overlay");

const unchangeable = TEST_FS.startsWith("btrfs")
  ? "a committed subvolume is read-only, so that nothing changes it"
  : undefined;

const plainLayer = (plain: Uint8Array<ArrayBuffer>): BuiltLayer => ({
  plain,
  file: new Uint8Array(gzipSync(plain)),
  mediaType: `${OCI_LAYER}+gzip`,
});

const long = `${"d".repeat(90)}/${"n".repeat(120)}`;
/** Headers of every kind, content of odd sizes, and padding behind the end. */
const ODD = plainLayer(
  new Uint8Array([
    ...tar(
      dir("./etc/", { mtime: 5 }),
      file("./etc/one", "x".repeat(700), { uid: 12, gid: 34, mode: 0o4755 }),
      file("etc/empty", ""),
      hardlink("etc/one", "etc/two"),
      symlink("one", "etc/link"),
      pax({ path: long, mtime: "7.25" }),
      file("short", "long"),
      file("gnu", "y".repeat(512), { magic: "gnu" }),
      file("large", "z".repeat(700_000)),
    ),
    ...new Uint8Array(5000).fill(9, 4000),
  ]),
);
const TOP = layer([dir("etc/"), file("etc/.wh.two", ""), file("etc/one", "new")]);

const OPTIONS: Omit<ExportOptions, "output"> = { format: "hybrid", packing: "gzip", time: 1234 };

needs(lacking, "images: an export has the very layers, in every form and compression", async () => {
  using store = await imageStore();
  const { images } = store, built = image([ODD, TOP, ODD]);
  images.import(writeFiles(store.path("in"), oneImage(built)));
  const before = snapshotNames(store);
  const unpack = { gzip: gunzipSync, zstd: zstdDecompressSync, none: (bytes: Uint8Array) => bytes };
  for (const packing of ["gzip", "zstd", "none"] as const) {
    for (const format of ["hybrid", "docker", "oci-dir"] as const) {
      const output = store.path(`${format}-${packing}`), what = `${format}, ${packing}`;
      const exported = await images.export("app", { format, packing, time: 1234, output });
      assertEquals([exported.id, exported.names], [built.id, ["app:latest"]], what);
      const tree = format === "oci-dir" ? output : `${output}.d`;
      if (format !== "oci-dir") {
        Deno.mkdirSync(tree);
        must("tar", "-C", tree, "-xf", output);
        assertEquals(Deno.statSync(join(tree, "manifest.json")).mtime?.getTime(), 1234_000);
      }
      const blobs = [...Deno.readDirSync(join(tree, "blobs/sha256"))].map(({ name }) => {
        const bytes = Deno.readFileSync(join(tree, "blobs/sha256", name));
        assertEquals(hex(bytes), name, what);
        return bytes;
      });
      const plains = blobs.filter((bytes) => bytes[0] !== 0x7b).map((bytes) =>
        sha256(unpack[packing](bytes))
      );
      assertEquals(plains.sort(), [ODD, TOP].map(({ plain }) => sha256(plain)).sort(), what);
      assert(blobs.some((bytes) => sha256(bytes) === built.id), what);
      using other = await imageStore();
      const [{ id, names, unpacked }] = other.images.import(output);
      assertEquals([id, names, unpacked], [built.id, ["app:latest"], 3], what);
    }
  }
  assertEquals(snapshotNames(store), before);
});

needs(lacking, "images: an export has the same bytes each time", async () => {
  using store = await imageStore();
  store.images.import(writeFiles(store.path("in"), oneImage(image([ODD, TOP]))));
  const bytes = async (name: string) => {
    await store.images.export("app", { ...OPTIONS, output: store.path(name) });
    return hex(Deno.readFileSync(store.path(name)));
  };
  assertEquals(await bytes("one"), await bytes("two"));
});

async function exportFails(
  store: Awaited<ReturnType<typeof imageStore>>,
  message: RegExp,
): Promise<void> {
  const output = store.path("out"), before = snapshotNames(store);
  const error = await assertRejects(
    () => store.images.export("app", { ...OPTIONS, output }),
    VeneerError,
  );
  assertMatch(error.message, message);
  assertEquals(snapshotNames(store), before);
  assertEquals([...Deno.readDirSync(store.path("."))].some(({ name }) => name === "out"), false);
}

needs(
  unchangeable ?? lacking,
  "images: a layer that was changed is named with the file",
  async () => {
    using store = await imageStore();
    const built = image([ODD]);
    store.images.import(writeFiles(store.path("in"), oneImage(built)));
    const { layer } = store.images.snapshots.stat(chainsOf(built.layers)[0]);
    const [found] = must("find", store.path("root"), "-path", `*/${layer}/*`, "-name", "large")
      .split("\n");
    Deno.writeTextFileSync(found, "Z".repeat(700_000));
    await exportFails(store, /^layer sha256:\S+: \/large has other content than it had$/);
    Deno.writeTextFileSync(found, "Z");
    await exportFails(store, /\/large has 1 bytes, and had 700000$/);
    Deno.removeSync(found);
    await exportFails(store, /\/large is missing$/);
  },
);

needs(
  unchangeable ?? lacking,
  "images: a changed layer is written on demand, and the image has another id",
  async () => {
    using store = await imageStore();
    const { images } = store, built = image([ODD, TOP]), [base] = chainsOf(built.layers);
    images.import(writeFiles(store.path("in"), oneImage(built)));
    const { layer } = images.snapshots.stat(base), root = store.path("root");
    const [found] = must("find", root, "-path", `*/${layer}/*`, "-name", "large").split("\n");
    Deno.writeTextFileSync(found, "changed");
    const said: string[] = [], output = store.path("out");
    const onChanged = (line: string) => void said.push(line);
    const { id } = await images.export("app", { ...OPTIONS, output, onChanged });
    assertEquals(said.length, 1);
    assertMatch(said[0], /^layer sha256:\S+: \/large has 7 bytes, and had 700000$/);
    using other = await imageStore();
    const [imported] = other.images.import(output);
    assertEquals([imported.id, imported.id === built.id], [id, false]);
    const { config, snapshot } = other.images.find("app");
    const { rootfs: { diff_ids }, ...rest } = JSON.parse(new TextDecoder().decode(config));
    assertEquals([rest.created, diff_ids[1]], ["2020-01-01T00:00:00Z", sha256(TOP.plain)]);
    withTree(other, snapshot!, (root) => {
      assertEquals(Deno.readTextFileSync(join(root, "large")), "changed");
      assertEquals(Deno.readTextFileSync(join(root, "etc/one")), "new");
      assertEquals([...Deno.readDirSync(join(root, "etc"))].length, 3);
    });
  },
);

needs(lacking, "images: an export has the name it is asked by, or all for an id", async () => {
  using store = await imageStore();
  const { images } = store, output = store.path("out");
  const [{ id }] = images.import(writeFiles(store.path("in"), oneImage(image([TOP]))));
  images.tag("app", "other:2");
  const names = async (text: string) => (await images.export(text, { ...OPTIONS, output })).names;
  assertEquals(await names("other:2"), ["other:2"]);
  using other = await imageStore();
  assertEquals(other.images.import(output)[0].names, ["other:2"]);
  assertEquals(await names("app"), ["app:latest"]);
  assertEquals(await names(id), ["app:latest", "other:2"]);
});

needs(lacking, "images: layers are exported by a chain id, too", async () => {
  using store = await imageStore();
  const { images } = store, built = image([ODD, TOP]), [base, top] = chainsOf(built.layers);
  images.import(writeFiles(store.path("in"), oneImage(built)));
  const output = store.path("out"),
    export_ = (chain: string) => images.export(chain, { ...OPTIONS, output });
  assertEquals((await export_(top)).id, built.id);
  const { id, names } = await export_(base);
  assertEquals(names, []);
  assertEquals((await export_(base)).id, id);
  using other = await imageStore();
  assertEquals(other.images.import(output).map(({ id, layers }) => [id, layers]), [[id, 1]]);
  assertEquals(other.images.find(id).snapshot, base);
  await assertRejects(() => export_(sha256(ODD.plain).replace(/.$/, "x")), VeneerError);
});

/** Tars in which an entry takes the place of an earlier one's content, and what is there then. */
const CONFLICTS: readonly [name: string, entries: TarEntry[], shown: string][] = [
  ["a file twice", [file("a", "first"), file("b", "b"), file("./a", "other")], "a=other b=b"],
  ["a file, then a link", [file("a", "first"), file("b", "b"), symlink("b", "a")], "a=b b=b"],
  [
    "a file, then a directory",
    [file("a", "first"), dir("a/"), file("a/c", "c")],
    "a/c=c",
  ],
  [
    "a directory, then a file",
    [file("a/c", "c"), file("a/d/e", "e"), file("a", "first")],
    "a=first",
  ],
  ["by a link", [file("d/x", "one"), symlink("d", "l"), file("l/x", "other")], "d/x=other"],
  ["a whiteout with content", [file("d/x", "x"), file(".wh.gone", "bytes")], "d/x=x"],
];

needs(
  lacking,
  "images: of a path that comes twice the last counts, and all is exported",
  async () => {
    for (const [name, entries, shown] of CONFLICTS) {
      using store = await imageStore();
      const built = image([plainLayer(tar(...entries))]), output = store.path("out");
      store.images.import(writeFiles(store.path("in"), oneImage(built)));
      withTree(store, chainsOf(built.layers)[0], (root) => {
        for (const [path, content] of shown.split(" ").map((pair) => pair.split("="))) {
          assertEquals(Deno.readTextFileSync(join(root, path)), content, `${name}: ${path}`);
        }
      });
      const { id } = await store.images.export("app", { ...OPTIONS, packing: "none", output });
      assertEquals(id, built.id, name);
      const blob = must("tar", "-xOf", output, `blobs/sha256/${hex(built.layers[0].plain)}`);
      assertEquals(blob.length, built.layers[0].plain.length, name);
      using other = await imageStore();
      assertEquals(other.images.import(output)[0].id, built.id, name);
    }
  },
);

/** Tars on a base with `d/b` and the link `l` to `d`, and what is there then. */
const BELOW = layer([dir("d/"), file("d/b", "b"), symlink("d", "l")]);
const THROUGH: readonly [name: string, entries: TarEntry[], shown: string][] = [
  ["a file twice", [file("d/x", "one"), file("l/x", "other")], "d/x=other d/b=b"],
  ["an empty one", [file("d/x", "one"), file("l/x", "")], "d/x= l/b=b"],
  ["a deletion", [file("d/x", "one"), file("l/.wh.x", ""), file("d/y", "y")], "d/y=y"],
  ["by the link alone", [file("l/x", "one"), file("l/y", "y")], "d/x=one l/y=y"],
  ["a directory in its place", [file("d/x", "one"), dir("l/"), file("l/x", "x")], "d/x=one l/x=x"],
  [
    "a directory in its place, afterwards",
    [file("d/x", "one"), file("l/x", "other"), dir("l/")],
    "d/x=other",
  ],
  ["below", [file("d/x/y", "one"), dir("l/x/"), file("l/x/y", "other")], "d/x/y=other"],
];

needs(lacking, "images: a path through a link of a layer below is exported, too", async () => {
  for (const [name, entries, shown] of THROUGH) {
    using store = await imageStore();
    const built = image([BELOW, layer(entries)]), output = store.path("out");
    store.images.import(writeFiles(store.path("in"), oneImage(built)));
    withTree(store, chainsOf(built.layers)[1], (root) => {
      for (const [path, content] of shown.split(" ").map((pair) => pair.split("="))) {
        assertEquals(Deno.readTextFileSync(join(root, path)), content, `${name}: ${path}`);
      }
    });
    const { id } = await store.images.export("app", { ...OPTIONS, output });
    assertEquals(id, built.id, name);
    using other = await imageStore();
    assertEquals(other.images.import(output)[0].id, built.id, name);
  }
});

needs(lacking, "images: a layer on two parents is exported on each", async () => {
  using store = await imageStore();
  const top = layer([file("d/x", "one"), file("l/x", "other")]);
  const apart = image([layer([dir("d/"), dir("l/")]), top]), one = image([BELOW, top]);
  for (const [i, built] of [apart, one, apart].entries()) {
    store.images.import(writeFiles(store.path(`in${i}`), oneImage(built)));
    for (const { id } of [apart, one].slice(0, i + 1)) {
      await store.images.export(id, { ...OPTIONS, output: store.path("out") });
    }
  }
});

needs(lacking, "images: records of tars go with their layers", async () => {
  using store = await imageStore();
  const records = () =>
    [...Deno.readDirSync(join(store.images.snapshots.home, ".veneer/tars"))].map(({ name }) =>
      name
    );
  store.images.import(writeFiles(store.path("in"), oneImage(image([ODD, TOP]))));
  assertEquals(records().sort(), [hex(ODD.plain), hex(TOP.plain)].sort());
  store.images.remove("app");
  assertEquals(records(), []);
});
