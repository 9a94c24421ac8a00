/**
 * Tars of layers go both ways between Veneer and containers-storage, the library that Podman, Buildah and CRI-O keep
 * their layers with.
 */
import { assertEquals } from "@std/assert";
import { join } from "@std/path";
import { TestStore } from "../support/commands.ts";
import {
  lacksFileSystem,
  lacksProgram,
  mountPoints,
  must,
  needs,
  type TempDir,
  tempDir,
} from "../support/cases.ts";
import { describe } from "../support/tree_entries.ts";
import { addLinkedSpecials, changeRichTree, makeRichTree } from "./rich_tree.ts";
import { contentOf, inSeconds, mounted, namesIn } from "./trees.ts";

const lacking = lacksFileSystem("overlay") ?? lacksProgram("containers-storage");

/** A store of containers-storage in a directory of its own. */
class ContainersStorage implements Disposable {
  readonly #directory: TempDir = tempDir("storage-");

  must(...args: string[]): string {
    const { path } = this.#directory;
    return must(
      "env",
      "CONTAINERS_STORAGE_CONF=/dev/null",
      "containers-storage",
      ...[`--graph=${path}/graph`, `--run=${path}/run`, "--storage-driver=overlay"],
      ...args,
    );
  }

  /** Makes a layer. */
  create(id: string, parent: string): void {
    this.must("create-layer", "--id", id, ...parent ? [parent] : []);
  }

  /** Does something with a layer's mounted root. */
  mounted<T>(id: string, use: (root: string) => T): T {
    const root = this.must("mount", id).trim();
    try {
      return use(root);
    } finally {
      this.must("unmount", id);
    }
  }

  /** A layer's changes as a tar beside the store; returns its path. */
  diff(id: string): string {
    const tar = join(this.#directory.path, `${id}.tar`);
    this.must("diff", "--uncompressed", "--file", tar, id);
    return tar;
  }

  apply(id: string, tar: string): void {
    this.must("applydiff", "--file", tar, id);
  }

  [Symbol.dispose](): void {
    this.must("shutdown", "--force");
    assertEquals(mountPoints(this.#directory.path), []);
    this.#directory[Symbol.dispose]();
  }
}

const LAYERS = [
  { id: "base", parent: "", fill: makeRichTree },
  { id: "app", parent: "base", fill: changeRichTree },
  { id: "top", parent: "app", fill: addLinkedSpecials },
];

/**
 * A marker that theirs have and ours do not: `d/replaced` was a file, below which there was nothing to hide.
 */
const HIDES_NOTHING = "d/replaced/.wh..wh..opq";

const treeOf = (root: string) => inSeconds(describe(root));

needs(
  lacking,
  "containers-storage: its diffs apply here to the same trees, and come out again",
  () => {
    using peer = new ContainersStorage();
    using store = new TestStore();
    for (const { id, parent, fill } of LAYERS) {
      peer.create(id, parent);
      const expected = peer.mounted(id, (root) => {
        fill(root);
        return treeOf(root);
      });
      const theirs = peer.diff(id);
      store.must("create", id, ...parent === "" ? [] : ["--parent", parent]);
      store.must("apply", id, theirs);
      assertEquals(mounted(store, id, treeOf), expected);

      const ours = store.path(`${id}.tar`);
      store.must("diff", id, "--output", ours);
      assertEquals(namesIn(ours), namesIn(theirs).filter((name) => name !== HIDES_NOTHING));
      const content = contentOf(theirs).filter((line) => !line.startsWith(`"/${HIDES_NOTHING}" `));
      assertEquals(contentOf(ours), content);
    }
  },
);

needs(lacking, "containers-storage: diffs made here apply there to the same trees", () => {
  using peer = new ContainersStorage();
  using store = new TestStore();
  for (const { id, parent, fill } of LAYERS) {
    store.must("create", id, ...parent === "" ? [] : ["--parent", parent]);
    const expected = mounted(store, id, (root) => {
      fill(root);
      return treeOf(root);
    });
    const ours = store.path(`${id}.tar`);
    store.must("diff", id, "--output", ours);
    peer.create(id, parent);
    peer.apply(id, ours);
    assertEquals(peer.mounted(id, treeOf), expected);
    assertEquals(namesIn(peer.diff(id)), namesIn(ours));
  }
});
