/**
 * Apply, diff, apply again: nothing of a tree gets lost, whoever made the tar. The trees are made by hand, the tars
 * of reference by GNU tar and by Python.
 */
import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { lstat } from "../../ffi/stat.ts";
import { lgetxattr, llistxattr, lsetxattr } from "../../ffi/xattr.ts";
import { TestStore } from "../support/commands.ts";
import { lacksFileSystem, lacksProgram, must, needs, tempDir } from "../support/cases.ts";
import { chown, describe } from "../support/tree_entries.ts";
import { addExtremes, addLinkedSpecials, changeRichTree, makeRichTree } from "./rich_tree.ts";
import { mounted, unpack, withoutHiddenNames } from "./trees.ts";

const lacking = lacksFileSystem("overlay");

/** Everything of a tree: of its root too, but the root's time, which a mount or a layer of its own may move. */
function whole(root: string): string[] {
  const { mode, uid, gid } = lstat(root);
  const xattrs = llistxattr(root).filter((name) => !name.startsWith("trusted.overlay."))
    .map((name) => `${name}=${lgetxattr(root, name)?.toHex()}`);
  return [[". ", mode.toString(8), uid, gid, ...xattrs].join(" "), ...describe(root)];
}

/** A tree with every type of entry and all that one can have, its root included. */
function makeTree(root: string): void {
  Deno.mkdirSync(root);
  makeRichTree(root);
  addExtremes(root);
  chown(root, 5, 6);
  Deno.chmodSync(root, 0o751);
  lsetxattr(root, "user.root", new Uint8Array([1, 2]));
}

/** Makes layer `id` of a tar, and checks that it holds a tree. */
function applied(store: TestStore, id: string, parent: string, tar: string, tree: string[]): void {
  store.must("create", id, ...parent === "" ? [] : ["--parent", parent]);
  store.must("apply", id, tar);
  assertEquals(mounted(store, id, whole), tree);
}

/** Writes a layer's diff beside the store; returns its path. */
function diffOf(store: TestStore, id: string): string {
  const tar = store.path(`${id}.diff`);
  store.must("diff", id, "--output", tar);
  return tar;
}

const isSame = (a: string, b: string) => must("cmp", "--", a, b) === "";

/** Takes a tar of a tree through two layers and back. */
function roundTrip(tar: (tree: string, file: string) => void): void {
  using store = new TestStore();
  const tree = store.path("tree"), file = store.path("reference.tar");
  makeTree(tree);
  const expected = whole(tree);
  tar(tree, file);

  applied(store, "first", "", file, expected);
  const first = diffOf(store, "first");
  applied(store, "second", "", first, expected);
  assert(isSame(diffOf(store, "second"), first));

  using dir = tempDir("tar-");
  unpack(first, dir.path);
  assertEquals(whole(dir.path), expected);
}

needs(lacking, "round trip: a tree that GNU tar packed", () =>
  roundTrip((tree, file) => {
    must("tar", "-C", tree, "--format=posix", "--xattrs", "--xattrs-include=*", "-cf", file, ".");
  }));

/** Packs the directory `argv[1]` into `argv[2]`, with times to the nanosecond and attributes. */
const PACK = `
import os, sys, tarfile
root, file = sys.argv[1:]
text = lambda value: value.decode("utf-8", "surrogateescape")
with tarfile.open(file, "w", format=tarfile.PAX_FORMAT, errors="surrogateescape") as tar:
    def add(path, name):
        info = tar.gettarinfo(path, name)
        ns = os.lstat(path).st_mtime_ns
        sign, ns = ("-", -ns) if ns < 0 else ("", ns)
        info.pax_headers = {"mtime": "%s%d.%09d" % (sign, ns // 10**9, ns % 10**9)}
        for key in os.listxattr(path, follow_symlinks=False):
            value = os.getxattr(path, key, follow_symlinks=False)
            info.pax_headers["SCHILY.xattr." + key] = text(value)
        if info.isreg():
            with open(path, "rb") as data:
                tar.addfile(info, data)
        else:
            tar.addfile(info)
        if info.isdir():
            for child in sorted(os.listdir(path)):
                add(os.path.join(path, child), os.path.join(name, child))
    add(root, ".")
`;

needs(
  lacking ?? lacksProgram("python3"),
  "round trip: a tree that Python's tarfile packed",
  () =>
    roundTrip((tree, file) => {
      must("python3", "-c", PACK, tree, file);
    }),
);

needs(lacking, "round trip: a layer that changes, deletes and replaces what is below it", () => {
  using store = new TestStore();
  const tree = store.path("tree"), file = store.path("base.tar");
  makeTree(tree);
  must("tar", "-C", tree, "--format=posix", "--xattrs", "--xattrs-include=*", "-cf", file, ".");
  store.must("create", "base");
  store.must("apply", "base", file);
  store.must("create", "app", "--parent", "base");
  const expected = mounted(store, "app", (root) => {
    changeRichTree(root);
    addExtremes(join(root, "opaque"));
    addLinkedSpecials(join(root, "d"));
    Deno.chmodSync(root, 0o700);
    return whole(root);
  });
  const app = diffOf(store, "app");
  applied(store, "copy", "base", app, expected);
  assert(isSame(diffOf(store, "copy"), app));
  assertEquals(store.must("changes", "copy"), store.must("changes", "app"));
  const size = store.must("diffsize", "app");
  assertEquals(store.must("diffsize", "copy"), size);

  store.must("diff", "copy", "--parent", "", "--output", store.path("flat"));
  applied(store, "flat", "", store.path("flat"), withoutHiddenNames(expected));
});
