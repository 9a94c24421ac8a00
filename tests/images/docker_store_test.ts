/**
 * A store of Docker's that hostile programs could write to: what is wrong in it is one line, and
 * leads nowhere else. The driver aufs runs nowhere here, so its store is of literal files.
 */
// @runs on ext4, btrfs
import { assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { openDockerStore } from "../../drivers/docker_stores.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import { exportOfDocker } from "../../lib/images/docker/export.ts";
import { needs, tempDir } from "../support/cases.ts";
import { BASE, BOX, OWN, writeDockerStore } from "./literal_docker_store.ts";

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
});

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
