/**
 * A store of Docker's that hostile programs could write to: what is wrong in it is one line, and
 * leads nowhere else. The driver aufs runs nowhere here, so its store is of literal files.
 */
// @runs on ext4, btrfs
import { assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { openDockerStore } from "../../drivers/docker_stores.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import { withOutput } from "../../lib/base/descriptors.ts";
import { imageOfContainer } from "../../lib/images/docker/commit.ts";
import { exportOfDocker } from "../../lib/images/docker/export.ts";
import { lacksFileSystem, must, needs, tempDir } from "../support/cases.ts";
import { chainsOf, sha256 } from "./builder.ts";
import { BASE, BOX, OWN, writeDockerStore } from "./literal_docker_store.ts";
import { imageStore, withTree } from "./support.ts";

const SECOND = "1970-01-01T00:00:01.000Z";

const OPTIONS = { format: "hybrid", packing: "none", time: 0 } as const;

const openStore = (root: string) => openDockerStore({ root, driver: undefined });

needs(undefined, "Docker's store of aufs: images, and what a container changed", async () => {
  using dir = tempDir("d-");
  const root = join(dir.path, "docker"), built = writeDockerStore(root, "aufs");
  using store = openStore(root);
  assertEquals([store.driver, store.images.list(() => {}).map(({ id }) => id)], [
    "aufs",
    [built.id],
  ]);
  using scope = new DisposableStack();
  const changes = [...store.containers.changes(BOX, scope).changes()];
  assertEquals(changes.map(({ kind, path }) => `${kind} ${path}`), ["D /gone", "A /new"]);
  assertEquals(store.containers.size(BOX), 3);
  const written = await exportOfDocker(store, "app", { ...OPTIONS, output: join(dir.path, "out") });
  assertEquals(written.id, built.id);

  Deno.writeTextFileSync(join(root, "aufs/diff", BASE, "etc/digits"), "123456780");
  const again = () => exportOfDocker(store, "app", { ...OPTIONS, output: join(dir.path, "no") });
  const error = await assertRejects(again, VeneerError);
  assertMatch(error.message, /^layer sha256:\w+: \/etc\/digits has other content than it had$/);

  // On demand it is written as it is now, by the layer's chain id, too.
  for (const name of ["app", chainsOf(built.layers)[0]]) {
    const said: string[] = [], output = join(dir.path, "changed");
    const onChanged = (line: string) => void said.push(line);
    const changed = await exportOfDocker(store, name, { ...OPTIONS, output, onChanged });
    assertEquals([said, changed.id === built.id], [[error.message], false]);
    const [{ Layers: [layer] }] = JSON.parse(must("tar", "-xOf", output, "manifest.json"));
    const inner = join(dir.path, "layer.tar");
    Deno.writeTextFileSync(inner, "");
    must("sh", "-c", 'tar -xOf "$0" "$1" >"$2"', output, layer, inner);
    assertEquals(must("tar", "-xOf", inner, "etc/digits"), "123456780");
  }
});

/** Adds to the store of aufs what its marks are for, on three layers. */
function writeMarks(root: string): void {
  const put = (layer: string, path: string, content: string | undefined) => {
    const full = join(root, "aufs/diff", layer, path);
    Deno.mkdirSync(content === undefined ? full : join(full, ".."), { recursive: true });
    if (content !== undefined) Deno.writeTextFileSync(full, content);
  };
  for (const path of ["opaque/below", "opaque/sub/x", "tree/a/b", "became/x", "kept/x", "file"]) {
    put(BASE, path, "base");
  }
  put(`${OWN}-init`, "kept/.wh.x", "");
  put(`${OWN}-init`, ".wh.file", "");
  put(`${OWN}-init`, "kept/y", "init");
  put(OWN, "opaque/.wh..wh..opq", "");
  put(OWN, "opaque/sub/y", "own");
  put(OWN, ".wh.tree", "");
  put(OWN, "became", "own");
  put(OWN, "kept/x", "again");
  put(OWN, ".wh..wh.plnk/1.2", "plink");
  put(OWN, ".wh..wh.aufs", "");
  put(OWN, "\u00e4/caf\u00e9", "own");
  Deno.chmodSync(join(root, "aufs/diff", BASE, "kept"), 0o751);
  Deno.chmodSync(join(root, "aufs/diff", OWN, "kept"), 0o711);
  Deno.linkSync(join(root, "aufs/diff", OWN, "new"), join(root, "aufs/diff", OWN, "linked"));
}

const SHOWN = {
  became: "own",
  "etc/digits": "123456789",
  "kept/x": "again",
  "kept/y": "init",
  linked: "new",
  new: "new",
  "opaque/sub/y": "own",
  "\u00e4/caf\u00e9": "own",
};

/** The files below a directory, by their paths. */
function filesIn(root: string, below = ""): Record<string, string> {
  const found = [...Deno.readDirSync(join(root, below))].map(({ name, isDirectory }) => {
    const path = join(below, name);
    return isDirectory ? filesIn(root, path) : { [path]: Deno.readTextFileSync(join(root, path)) };
  });
  return Object.assign({}, ...found);
}

needs(
  lacksFileSystem("overlay"),
  "Docker's store of aufs: a container is shown whole, and made an image",
  async () => {
    using dir = tempDir("d-");
    const root = join(dir.path, "docker"), built = writeDockerStore(root, "aufs");
    writeMarks(root);
    using store = openStore(root);
    const tar = join(dir.path, "box.tar"), tree = join(dir.path, "box");
    withOutput(tar, (fd) => store.containers.export(BOX, fd, () => {}));
    Deno.mkdirSync(tree);
    must("tar", "-C", tree, "-xf", tar);
    assertEquals(filesIn(tree), SHOWN);
    assertEquals(Deno.statSync(join(tree, "kept")).mode! & 0o777, 0o711);
    assertEquals(Deno.statSync(join(tree, "new")).nlink, 2);

    using images = await imageStore();
    using scope = new DisposableStack();
    const openSpool = () => images.images.openSpool(), warn = () => {};
    const options = { time: 1000, message: "saved", changes: ["ENV A=1"] };
    const found = imageOfContainer(store, "box", options, { openSpool, warn, scope });
    const [{ id, layers }] = images.images.importFound([found], root, { name: "box:saved" });
    assertEquals(layers, 2);
    const { config, snapshot } = images.images.find("box:saved");
    const { rootfs, history, ...rest } = JSON.parse(new TextDecoder().decode(config));
    assertEquals(rootfs.diff_ids[0], sha256(built.layers[0].plain));
    assertEquals([rest.config, rest.created], [{ Cmd: ["/bin/it"], Env: ["A=1"] }, SECOND]);
    assertEquals(history, [{
      created: SECOND,
      created_by: "commit of a container",
      comment: "saved",
    }]);
    // What stands below the container but is no image's layer is not in its image.
    const { "kept/y": _, ...others } = SHOWN;
    withTree(images, snapshot!, (root) => assertEquals(filesIn(root), others));
    // Its layers go out as they are.
    const written = await images.images.export(id, {
      ...OPTIONS,
      output: join(dir.path, "box.oci"),
    });
    assertEquals(written.id, id);
  },
);

needs(undefined, "Docker's store: names and links that lead elsewhere are refused", async () => {
  using dir = tempDir("d-");
  const root = join(dir.path, "docker");
  writeDockerStore(root, "overlay2");
  const output = join(dir.path, "out"), layers = join(root, "image/overlay2/layerdb");
  using store = openStore(root);
  const exportFails = async (message: RegExp) => {
    const error = await assertRejects(
      () => exportOfDocker(store, "app", { ...OPTIONS, output }),
      VeneerError,
    );
    assertMatch(error.message, message);
  };
  const mount = join(layers, "mounts", BOX, "mount-id");
  Deno.writeTextFileSync(mount, "../../etc");
  const error = assertThrows(() => store.containers.size(BOX), VeneerError);
  assertMatch(error.message, /mount-id holds "..\/..\/etc", not a layer's name$/);
  Deno.writeTextFileSync(mount, OWN);

  const diff = join(root, "overlay2", BASE, "diff"), digits = join(diff, "etc/digits");
  Deno.renameSync(digits, `${digits}.old`);
  Deno.symlinkSync("/etc/passwd", digits);
  await exportFails(/: \/etc\/digits is missing$/);
  Deno.renameSync(diff, `${diff}.old`);
  Deno.symlinkSync("/etc", diff);
  await exportFails(/\/diff leads through a link$/);

  const [chain] = [...Deno.readDirSync(join(layers, "sha256"))].map(({ name }) => name);
  Deno.writeTextFileSync(join(layers, "sha256", chain, "parent"), `sha256:${chain}`);
  const warnings: string[] = [];
  assertEquals(store.images.list((line) => void warnings.push(line)), []);
  assertMatch(warnings.join(), /stands on more than 512 layers$/);
});

needs(undefined, "Docker's store: names that cannot be read cost the names alone", () => {
  using dir = tempDir("d-");
  const root = join(dir.path, "docker"), { id } = writeDockerStore(root, "overlay2");
  const names = join(root, "image/overlay2/repositories.json");
  using store = openStore(root);
  const listed = () => {
    const said: string[] = [];
    const images = store.images.list((line) => void said.push(line));
    assertEquals(images.map(({ id, names }) => [id, names]), [[id, []]]);
    return said.join("\n");
  };
  Deno.writeTextFileSync(names, "{");
  assertMatch(listed(), /^images are shown without names: .*repositories.json/);
  Deno.truncateSync(names, 2 ** 40);
  assertMatch(listed(), /has 1099511627776 bytes, and 64 MiB is the most$/);
});
