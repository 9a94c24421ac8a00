/**
 * A layer's tar is applied as if it were extracted over the layer's parents, and nothing of the
 * host gets in: the trees that a mount shows, the same for every driver.
 */
import { assertEquals, assertNotEquals, assertStringIncludes } from "@std/assert";
import { lgetxattr, llistxattr, lsetxattr } from "../../../ffi/xattr.ts";
import { lstat } from "../../../ffi/stat.ts";
import type { GraphDriver } from "../../../lib/graph/driver.ts";
import { must } from "../../support/cases.ts";
import { apply, diff } from "../../support/layers.ts";
import { lines } from "../../support/trees.ts";
import {
  dir,
  file,
  hardlink,
  pax,
  symlink,
  tar,
  type TarEntry,
} from "../../tar/support/tar_builder.ts";
import { tree, type TreeOptions } from "../../tar/support/tar_layers.ts";
import { assertFails } from "../../support/errors.ts";
import type { Store, Suite } from "./suite.ts";

type Part = TarEntry | Uint8Array;

/** `linux/posix_acl_xattr.h`: version 2, then for each entry a tag, permissions and an id. */
const ACL = new Uint8Array([
  ...[2, 0, 0, 0],
  ...[1, 0, 7, 0, 255, 255, 255, 255],
  ...[2, 0, 5, 0, 210, 4, 0, 0],
  ...[4, 0, 5, 0, 255, 255, 255, 255],
  ...[16, 0, 5, 0, 255, 255, 255, 255],
  ...[32, 0, 5, 0, 255, 255, 255, 255],
]);
const DEFAULT_ACL = "system.posix_acl_default";

/** Makes a layer of a tar. */
function layer({ driver, scratch }: Store, id: string, parent: string, ...parts: Part[]): void {
  driver.create(id, { parent });
  const path = `${scratch}/${id}.tar`;
  Deno.writeFileSync(path, tar(...parts));
  apply(driver, id, path);
}

/** What its mount shows; a line for each entry that some pattern fits. */
function shown(driver: GraphDriver, id: string, options?: TreeOptions): string[] {
  const root = driver.get(id);
  try {
    return tree(root, options);
  } finally {
    driver.put(id);
  }
}

const names = (driver: GraphDriver, id: string) =>
  shown(driver, id).map((line) => line.split(" ")[0]);

export function overParents(suite: Suite): void {
  suite.case("directories that a tar only implies stay as the parents have them", (store) => {
    const { driver } = store;
    const note = pax({ "SCHILY.xattr.user.note": "kept", mtime: "1234567890.123456789" });
    const srv = { mode: 0o1711, uid: 42, gid: 43 };
    layer(store, "below", "", note, dir("srv", srv), file("srv/a", "1"));
    layer(store, "middle", "below", dir("srv/sub", { mode: 0o2750, uid: 7, gid: 8, mtime: 5 }));
    layer(store, "top", "middle", file("srv/sub/new", "2"), file("srv/fresh/new", "2"));
    layer(store, "wh", "top", file("srv/sub/.wh.new"), file("srv/.wh.none"));
    const options = { times: true };
    const dirs = (id: string) =>
      shown(driver, id, options).filter((line) => /^srv(\/sub)? /.test(line));
    const expected = [
      'srv dir 1711 42:43 1234567890.123456789 user.note="kept"',
      "srv/sub dir 2750 7:8 5.000000000",
    ];
    for (const id of ["middle", "top", "wh"]) assertEquals(dirs(id), expected, id);
    assertEquals(shown(driver, "top").filter((line) => /fresh/.test(line)), [
      "srv/fresh dir 755 0:0",
      'srv/fresh/new file 644 0:0 "2"',
    ]);
    assertEquals(names(driver, "wh"), ["srv", "srv/a", "srv/fresh", "srv/fresh/new", "srv/sub"]);
    assertEquals(lines(driver.changes("wh", undefined)), [
      "C /srv",
      "C /srv/sub",
      "D /srv/sub/new",
    ]);
  });

  suite.case("directories that nothing has are plain", (store) => {
    const { driver } = store;
    const acl = pax({ [`SCHILY.xattr.${DEFAULT_ACL}`]: ACL });
    layer(store, "below", "", dir("set", { mode: 0o2775, gid: 9 }), acl, dir("acl"));
    layer(store, "top", "below", file("set/x/y", ""), file("acl/x/y", ""), file("x/y", ""));
    const made = shown(driver, "top").filter((line) => /x dir/.test(line));
    assertEquals(made, ["acl/x dir 755 0:0", "set/x dir 755 0:0", "x dir 755 0:0"]);
  });

  suite.case("paths lead over links of the parents, and these stay", (store) => {
    const { driver } = store;
    layer(
      store,
      "below",
      "",
      dir("usr", { uid: 3 }),
      dir("usr/lib", { mode: 0o700 }),
      file("usr/lib/libc.so", "c"),
      symlink("usr/lib", "lib"),
      symlink("../usr/./lib", "usr/up"),
    );
    layer(
      store,
      "middle",
      "below",
      symlink("/lib", "usr/lib64"),
      symlink("lib64/../..", "usr/top"),
    );
    layer(
      store,
      "top",
      "middle",
      file("lib/1", ""),
      file("usr/lib64/2", ""),
      file("usr/up/3", ""),
      file("usr/top/4", ""),
      dir("lib/dir"),
      file("lib/dir/5", ""),
    );
    assertEquals(shown(driver, "top", { attributes: false }), [
      '4 file ""',
      "lib link -> usr/lib",
      "usr dir",
      "usr/lib dir",
      'usr/lib/1 file ""',
      'usr/lib/2 file ""',
      'usr/lib/3 file ""',
      "usr/lib/dir dir",
      'usr/lib/dir/5 file ""',
      'usr/lib/libc.so file "c"',
      "usr/lib64 link -> /lib",
      "usr/top link -> lib64/../..",
      "usr/up link -> ../usr/./lib",
    ]);
  });

  suite.case("a link of the parents leads nowhere once the tar has replaced it", (store) => {
    const { driver } = store;
    layer(store, "below", "", dir("a"), dir("b"), symlink("a", "s"), symlink("a", "t"));
    layer(
      store,
      "top",
      "below",
      ...[file("s/1", ""), symlink("b", "s"), file("s/2", ""), dir("s"), file("s/3", "")],
      ...[file("t/4", ""), file(".wh.t"), file("t/5", "")],
      ...[file("s/.wh.3"), file("t/.wh.4")],
    );
    assertEquals(
      names(driver, "top"),
      ["a", "a/1", "a/4", "b", "b/2", "s", "s/3", "t", "t/5"],
    );
  });

  suite.case(
    "an entry takes the place of the link or directory that its own path led over",
    (store) => {
      const { driver } = store;
      const tars: Record<string, Part[]> = {
        link: [symlink(".", "c"), file("c/c", "x")],
        directory: [dir("d"), dir("d/e"), symlink("/", "d/e/up"), symlink("x", "d/e/up/d")],
        node: [dir("d"), symlink(".", "c"), { name: "c/c", type: "6" }],
        "hard link": [file("f", ""), symlink(".", "c"), hardlink("f", "c/c")],
      };
      const expected: Record<string, string[]> = {
        link: ['c file 644 0:0 "x"'],
        directory: ["d link 0:0 -> x"],
        node: ["c fifo 644 0:0", "d dir 755 0:0"],
        "hard link": ['c file 644 0:0 ""', 'f file 644 0:0 ""'],
      };
      for (const [i, [name, parts]] of Object.entries(tars).entries()) {
        layer(store, `whole-${i}`, "", ...parts);
        layer(store, `below-${i}`, "", ...parts.slice(0, -1));
        layer(store, `above-${i}`, `below-${i}`, ...parts.slice(-1));
        for (const id of ["whole", "above"]) {
          assertEquals(shown(driver, `${id}-${i}`), expected[name], `${name}, ${id}`);
        }
      }
    },
  );

  suite.case("what the parents have in the way of a path is refused", (store) => {
    const { driver, scratch } = store;
    layer(store, "below", "", file("f", ""), { name: "fifo", type: "6" });
    for (const name of ["f", "fifo"]) {
      driver.create(name, { parent: "below" });
      Deno.writeFileSync(`${scratch}/tar`, tar(file(`${name}/below`, "")));
      const { message } = assertFails(
        "invalid argument",
        () => apply(driver, name, `${scratch}/tar`),
      );
      assertStringIncludes(message, `"${name}" is not a directory`);
      driver.remove(name);
    }
  });

  suite.case("a hard link to a file of the parents is one to the very file", (store) => {
    const { driver } = store;
    const note = pax({ "SCHILY.xattr.user.note": "kept", mtime: "77.000000001" });
    layer(
      store,
      "below",
      "",
      dir("d", { mode: 0o750, uid: 4, mtime: 5 }),
      note,
      file("d/c", "shared", { mode: 0o4640, uid: 5, gid: 6 }),
      symlink("c", "d/l", { uid: 7, mtime: 8 }),
      { name: "d/p", type: "6", mode: 0o600, uid: 9, mtime: 8 },
      symlink("d", "s"),
    );
    layer(
      store,
      "top",
      "below",
      ...[hardlink("d/c", "c1"), hardlink("s/c", "c2"), hardlink("c1", "c3")],
      ...[hardlink("d/l", "l"), hardlink("d/p", "p")],
    );
    const found = shown(driver, "top", { times: true, links: true });
    const same = 'file 4640 5:6 77.000000001 links=4 "shared" user.note="kept"';
    const link = "link 7:0 8.000000000 links=2 -> c";
    const fifo = "fifo 600 9:0 8.000000000 links=2";
    assertEquals(found.filter((line) => !/^s /.test(line)), [
      ...["c1", "c2", "c3"].map((name) => `${name} ${same}`),
      ...["d dir 750 4:0 5.000000000", `d/c ${same}`, `d/l ${link}`, `d/p ${fifo}`],
      ...[`l ${link}`, `p ${fifo}`],
    ]);
    const root = driver.get("top");
    const inodes = ["c1", "c2", "c3", "d/c"].map((name) => lstat(`${root}/${name}`).inode);
    assertEquals(new Set(inodes).size, 1);
    assertNotEquals(inodes[0], lstat(`${root}/l`).inode);
    driver.put("top");
    assertEquals(
      lines(driver.changes("top", undefined)),
      ["A /c1", "A /c2", "A /c3", "A /l", "A /p"],
    );
  });

  suite.case("a hard link to what no parent has, or has as a directory, is refused", (store) => {
    const { driver, scratch } = store;
    layer(store, "below", "", dir("d"), file("d/f", ""), file("gone", ""));
    layer(store, "middle", "below", file(".wh.gone"));
    const tars = {
      directory: tar(hardlink("d", "x")),
      missing: tar(hardlink("d/none", "x")),
      hidden: tar(hardlink("gone", "x")),
      "hidden by the same tar": tar(file("d/.wh.f"), hardlink("d/f", "x")),
      "hidden with its directory": tar(file(".wh.d"), hardlink("d/f", "x")),
      "through a file": tar(hardlink("d/f/x", "x")),
    };
    for (const [name, bytes] of Object.entries(tars)) {
      driver.create("top", { parent: "middle" });
      Deno.writeFileSync(`${scratch}/tar`, bytes);
      const { message } = assertFails(
        "invalid argument",
        () => apply(driver, "top", `${scratch}/tar`),
      );
      assertStringIncludes(message, "there is nothing (or a directory)", name);
      driver.remove("top");
    }
  });

  suite.case("whiteouts below a whiteout leave nothing, in either order", (store) => {
    const { driver } = store;
    layer(store, "below", "", dir("a"), file("a/old", ""), dir("a/sub"), file("a/sub/deep", ""));
    const tars = {
      umoci: [file(".wh.a"), file("a/.wh.old")],
      deep: [file(".wh.a"), file("a/.wh.sub"), file("a/sub/.wh.deep")],
      reverse: [file("a/sub/.wh.deep"), file("a/.wh.old"), file(".wh.a")],
      opaque: [file("a/.wh..wh..opq"), file("a/sub/.wh..wh..opq"), file(".wh.a")],
    };
    for (const [id, parts] of Object.entries(tars)) {
      layer(store, id, "below", ...parts);
      assertEquals(names(driver, id), [], id);
      assertEquals(lines(driver.changes(id, undefined)), ["D /a"], id);
    }
  });

  suite.case("a whiteout that hides nothing leaves no name", (store) => {
    const { driver, scratch } = store;
    layer(store, "below", "", dir("a"), file("a/old", ""), dir("a/b"), file("a/b/c", ""));
    layer(store, "bottom", "", dir("b"), file("b/.wh.nothing"), file("b/new", ""));
    layer(store, "on-bottom", "bottom");
    const [a, opaque, hidden] = [dir("a"), file("a/.wh..wh..opq"), file("a/.wh.old")];
    const fresh = file("a/new", "");
    const tars: Record<string, Part[]> = {
      opaque: [a, opaque, hidden, fresh],
      last: [a, hidden, fresh, opaque],
      replaced: [file(".wh.a"), a, hidden, fresh],
      absent: [a, file("a/.wh.none"), fresh, hidden, file("a/.wh.b"), file("n/.wh.none")],
      "opaque where nothing is": [opaque, a, file("n/.wh..wh..opq"), fresh],
    };
    for (const [id, parts] of Object.entries(tars)) {
      layer(store, id.replaceAll(" ", "-"), "below", ...parts);
    }
    for (const id of [...Object.keys(tars).map((id) => id.replaceAll(" ", "-")), "on-bottom"]) {
      const root = driver.get(id), top = id === "on-bottom" ? "b" : "a";
      // All names that a directory lists are there, and can be removed.
      assertEquals(tree(root, { attributes: false }), [`${top} dir`, `${top}/new file ""`], id);
      must("rm", "-r", `${root}/${top}`);
      driver.put(id);
    }
    // Nor does a diff say more than a mount shows.
    layer(store, "diffed", "below", a, file("a/.wh.none"), file("n/.wh.none"), fresh);
    const listed = must("tar", "-tf", diff(driver, "diffed", undefined, scratch)).trim();
    assertEquals(listed.split("\n").filter((name) => name.includes(".wh.")), []);
  });

  suite.case(
    "a directory that takes the place of a file of its own tar has nothing below",
    (store) => {
      const { driver } = store;
      layer(store, "below", "", dir("a", { uid: 5 }), file("a/old", ""), file("f", ""));
      layer(store, "file", "below", file("a", "now a file"));
      layer(store, "again", "below", file("a", ""), dir("a"), file("a/new", ""));
      layer(store, "link", "below", symlink("f", "a"), file(".wh.a"), dir("a"));
      layer(store, "made", "below", dir("f"), file("f/in", ""));
      layer(store, "made-again", "file", dir("a"), file("a/in", ""));
      assertEquals(names(driver, "file"), ["a", "f"]);
      assertEquals(names(driver, "again"), ["a", "a/new", "f"]);
      assertEquals(names(driver, "link"), ["a", "f"]);
      assertEquals(names(driver, "made"), ["a", "a/old", "f", "f/in"]);
      assertEquals(names(driver, "made-again"), ["a", "a/in", "f"]);
    },
  );

  suite.case("what a whiteout leaves of a directory is only what its tar has", (store) => {
    const { driver } = store;
    const a = dir("a", { mode: 0o700, uid: 5 }), old = file("a/old", ""), deep = file("a/b/c", "");
    layer(store, "below", "", a, old, dir("a/b", { uid: 6 }), deep);
    layer(store, "before", "below", file(".wh.a"), file("a/b/new", ""));
    layer(store, "after", "below", file("a/b/new", ""), file(".wh.a"));
    layer(store, "kept", "below", file("a/b/new", ""), file("a/.wh..wh..opq"));
    const left = ["a/b dir 755 0:0", 'a/b/new file 644 0:0 ""'];
    assertEquals(shown(driver, "before"), ["a dir 755 0:0", ...left]);
    assertEquals(shown(driver, "after"), ["a dir 755 0:0", ...left]);
    assertEquals(shown(driver, "kept"), ["a dir 700 5:0", ...left]);
  });

  suite.case("an opaque marker at the root hides all that the parents have", (store) => {
    const { driver } = store;
    layer(store, "below", "", dir("a"), file("a/old", ""), file("f", ""), symlink("a", "s"));
    layer(store, "middle", "below", file("a/more", ""), file("g", ""));
    layer(store, "top", "middle", dir("a"), file("a/new", ""), file(".wh..wh..opq"), file("h", ""));
    layer(store, "over", "top", file("a/last", ""));
    assertEquals(names(driver, "top"), ["a", "a/new", "h"]);
    assertEquals(names(driver, "over"), ["a", "a/last", "a/new", "h"]);
  });

  suite.case(
    "a directory's default access list is not handed down to what a tar has in it",
    (store) => {
      const { driver } = store;
      const acl = pax({ [`SCHILY.xattr.${DEFAULT_ACL}`]: ACL });
      const nodes: Part[] = [
        file("d/file", ""),
        dir("d/dir"),
        { name: "d/fifo", type: "6", mode: 0o666 },
        { name: "d/null", type: "3", mode: 0o666, major: 1, minor: 3 },
        { name: "d/block", type: "4", mode: 0o660, major: 7, minor: 0 },
        symlink("x", "d/link"),
      ];
      layer(store, "below", "", acl, dir("d"), ...nodes);
      layer(store, "listed", "", acl, dir("d"));
      layer(store, "child", "listed", ...nodes);
      const expected = [
        "d/block block 660 0:0 7:0",
        "d/dir dir 755 0:0",
        "d/fifo fifo 666 0:0",
        'd/file file 644 0:0 ""',
        "d/link link 0:0 -> x",
        "d/null char 666 0:0 1:3",
      ];
      for (const id of ["below", "child"]) {
        assertEquals(shown(driver, id).slice(1), expected);
        const root = driver.get(id);
        assertEquals(lgetxattr(`${root}/d`, DEFAULT_ACL), ACL);
        driver.put(id);
      }
    },
  );

  suite.case("what the host hands down in the store's directories gets into no layer", (store) => {
    const { driver, scratch } = store;
    for (const path of must("find", driver.home, "-xdev", "-type", "d").trim().split("\n")) {
      lsetxattr(path, DEFAULT_ACL, ACL);
    }
    const mask = Deno.umask(0o077);
    try {
      const nodes: Part[] = [dir("d"), file("d/f", ""), file("implied/g", ""), symlink("d", "s")];
      layer(store, "below", "", ...nodes, { name: "p", type: "6", mode: 0o666 });
      const expected = [
        ...["d dir 755 0:0", 'd/f file 644 0:0 ""', "implied dir 755 0:0"],
        ...['implied/g file 644 0:0 ""', "p fifo 666 0:0", "s link 0:0 -> d"],
      ];
      assertEquals(shown(driver, "below"), expected);
      layer(store, "child", "below", file("d/x/y", ""));
      const root = driver.get("child");
      assertEquals(tree(root).filter((line) => line.startsWith("d/x")), [
        "d/x dir 755 0:0",
        'd/x/y file 644 0:0 ""',
      ]);
      assertEquals(llistxattr(root).filter((name) => name.includes("acl")), []);
      Deno.umask(0o022);
      Deno.mkdirSync(`${root}/made`);
      assertEquals(lstat(`${root}/made`).mode & 0o7777, 0o755);
      driver.put("child");
      const bytes = Deno.readFileSync(diff(driver, "below", undefined, scratch));
      assertEquals(new TextDecoder().decode(bytes).includes("posix_acl"), false);
    } finally {
      Deno.umask(mask);
    }
  });
}
