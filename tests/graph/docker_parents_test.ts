/**
 * Parents by Docker's records, which anything may be written in.
 */
import { assertEquals } from "@std/assert";
import { join } from "@std/path";
import { parentsByDocker } from "../../lib/graph/docker_parents.ts";
import { must, needs, tempDir } from "../support/cases.ts";

const chain = (digit: string) => digit.repeat(64);

/** Records by their paths in `layerdb`. */
function write(root: string, records: Readonly<Record<string, string>>): void {
  for (const [path, text] of Object.entries(records)) {
    const full = join(root, "image/btrfs/layerdb", path);
    Deno.mkdirSync(join(full, ".."), { recursive: true });
    Deno.writeTextFileSync(full, text);
  }
}

const parentsIn = (root: string) => Object.fromEntries(parentsByDocker(join(root, "btrfs")));

needs(undefined, "Docker's parents: of image layers, containers and what is below these", () => {
  using dir = tempDir("d-");
  assertEquals(parentsIn(dir.path), {});
  write(dir.path, {
    [`sha256/${chain("1")}/cache-id`]: "base",
    [`sha256/${chain("2")}/cache-id`]: "top\n",
    [`sha256/${chain("2")}/parent`]: `sha256:${chain("1")}\n`,
    "mounts/box/mount-id": "own",
    "mounts/box/init-id": "own-init",
    "mounts/box/parent": `sha256:${chain("2")}`,
    "mounts/bare/mount-id": "bare",
    "mounts/bare/init-id": "bare-init",
  });
  assertEquals(parentsIn(dir.path), {
    base: "",
    top: "base",
    "own-init": "top",
    own: "own-init",
    "bare-init": "",
    bare: "bare-init",
  });
});

needs(undefined, "Docker's parents: what is not a record of a layer is left out", () => {
  using dir = tempDir("d-");
  const good = { [`sha256/${chain("1")}/cache-id`]: "base" };
  write(dir.path, {
    ...good,
    [`sha256/${chain("2")}/cache-id`]: "../etc",
    [`sha256/${chain("3")}/cache-id`]: "lost",
    [`sha256/${chain("3")}/parent`]: `sha256:${chain("9")}`,
    [`sha256/${chain("4")}/cache-id`]: "one",
    [`sha256/${chain("4")}/parent`]: `sha256:${chain("5")}`,
    [`sha256/${chain("5")}/cache-id`]: "two",
    [`sha256/${chain("5")}/parent`]: `sha256:${chain("4")}`,
    [`sha256/${chain("6")}/cache-id`]: "above",
    [`sha256/${chain("6")}/parent`]: `sha256:${chain("4")}`,
    [`sha256/${chain("7")}/cache-id`]: "self",
    [`sha256/${chain("7")}/parent`]: `sha256:${chain("7")}`,
    [`sha256/${chain("8")}/cache-id`]: "x".repeat(10_000),
    [`sha256/short/cache-id`]: "short",
  });
  const database = join(dir.path, "image/btrfs/layerdb/sha256");
  for (const name of ["a", "b"]) Deno.mkdirSync(join(database, chain(name)));
  must("mkfifo", join(database, chain("a"), "cache-id"));
  Deno.writeTextFileSync(join(dir.path, "outside"), "outside");
  Deno.symlinkSync(join(dir.path, "outside"), join(database, chain("b"), "cache-id"));
  assertEquals(parentsIn(dir.path), { base: "" });
});
