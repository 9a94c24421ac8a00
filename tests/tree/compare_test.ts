import { assert, assertEquals } from "@std/assert";
import { encode } from "../../ffi/cstring.ts";
import { entryName } from "../../ffi/entry_name.ts";
import { close, O_DIRECTORY, O_RDONLY, open, openat } from "../../ffi/files.ts";
import { mkdirat, S_IFCHR, S_IFIFO } from "../../ffi/names.ts";
import { tryLsetxattr } from "../../ffi/xattr.ts";
import { comparePaths } from "../../lib/tree/changes.ts";
import { compareTrees } from "../../lib/tree/compare.ts";
import { must, tempDir } from "../support/cases.ts";
import {
  chown,
  compared,
  copyTree,
  makeNode,
  OLD,
  put,
  setTime,
  withDirectories,
} from "../support/tree_entries.ts";
import { lines } from "../support/trees.ts";
import { openDescriptors } from "../support/files.ts";

/** An access control list as the kernel takes it (acl(5)): `u::rw,u:7:r,g::r,m::r,o::r`. */
const READABLE_BY_7 = Uint8Array.fromHex(
  "02000000" + "01000600ffffffff" + "0200040007000000" + "04000400ffffffff" +
    "10000400ffffffff" + "20000400ffffffff",
);

/** Makes a parent by `make`, copies it exactly, changes the copy by `change`, and compares. */
function diff(make: (root: string) => void, change: (root: string) => void): string[] {
  using dir = tempDir();
  const parent = `${dir.path}/parent`, child = `${dir.path}/child`;
  Deno.mkdirSync(parent);
  make(parent);
  copyTree(parent, child);
  change(child);
  return compared(parent, child);
}

/** The tree that moby's cases on changes use: two directories and a few files, links among them. */
function sample(root: string): void {
  for (const name of ["dir1", "dir2", "dir3"]) {
    Deno.mkdirSync(`${root}/${name}`);
    for (const file of ["file1-1", "file1-2", "file1-3"]) {
      put(`${root}/${name}/${file}`, `${file}\n`);
    }
  }
  Deno.symlinkSync("target1", `${root}/symlink1`);
  Deno.symlinkSync("dir2", `${root}/symlink2`);
  Deno.linkSync(`${root}/dir1/file1-1`, `${root}/hardlink`);
  makeNode(`${root}/fifo`, S_IFIFO | 0o600);
  makeNode(`${root}/null`, S_IFCHR | 0o666, 1, 3);
}

Deno.test("TestChangesWithNoChanges", () => {
  assertEquals(diff(sample, () => {}), []);
});

Deno.test("a tree compared with itself has no changes, nor has an empty one", () => {
  using dir = tempDir();
  assertEquals(compared("", dir.path), []);
  sample(dir.path);
  assertEquals(compared(dir.path, dir.path), []);
});

Deno.test("TestChangesDirsEmpty: against no parent every entry is added, in order", () => {
  using dir = tempDir();
  Deno.mkdirSync(`${dir.path}/a/b`, { recursive: true });
  put(`${dir.path}/a/b/c`);
  put(`${dir.path}/a.b`);
  put(`${dir.path}/a!`);
  Deno.symlinkSync("a", `${dir.path}/z`);
  assertEquals(compared("", dir.path), ["A /a", "A /a/b", "A /a/b/c", "A /a!", "A /a.b", "A /z"]);
});

Deno.test("TestChangesDirsMutated", () => {
  const changes = diff((root) => {
    sample(root);
    Deno.mkdirSync(`${root}/gone`);
    put(`${root}/gone/file`);
    put(`${root}/file`);
    put(`${root}/tofile`);
  }, (root) => {
    Deno.removeSync(`${root}/dir1`, { recursive: true }); // removed
    Deno.removeSync(`${root}/gone`, { recursive: true });
    Deno.removeSync(`${root}/symlink1`);
    Deno.removeSync(`${root}/dir2/file1-2`);
    Deno.writeTextFileSync(`${root}/dir2/file1-1`, "rewritten");
    Deno.writeTextFileSync(`${root}/file`, "longer than before");
    setTime(`${root}/tofile`, OLD + 1); // touched
    Deno.removeSync(`${root}/symlink2`);
    Deno.symlinkSync("elsewhere", `${root}/symlink2`); // another target
    put(`${root}/new`, "new");
    Deno.mkdirSync(`${root}/newdir`);
  });
  assertEquals(changes, [
    "D /dir1",
    "C /dir2",
    "C /dir2/file1-1",
    "D /dir2/file1-2",
    "C /file",
    "D /gone",
    "A /new",
    "A /newdir",
    "D /symlink1",
    "C /symlink2",
    "C /tofile",
  ]);
});

Deno.test("TestChangesWithChangesGH13590: a directory moved into another, and a file below it edited", () => {
  const changes = diff((root) => {
    Deno.mkdirSync(`${root}/dir1/dir2/dir3`, { recursive: true });
    put(`${root}/dir1/dir2/dir3/file1`, "one");
    put(`${root}/dir1/dir2/dir3/file2`, "two");
  }, (root) => {
    Deno.mkdirSync(`${root}/other`);
    Deno.renameSync(`${root}/dir1/dir2/dir3`, `${root}/other/dir3`);
    Deno.writeTextFileSync(`${root}/other/dir3/file1`, "changed");
  });
  assertEquals(changes, [
    "C /dir1",
    "C /dir1/dir2",
    "D /dir1/dir2/dir3",
    "A /other",
    "A /other/dir3",
    "A /other/dir3/file1",
    "A /other/dir3/file2",
  ]);
});

Deno.test("TestSimpleDiff", () => {
  const changes = diff((root) => {
    for (const name of ["etc", "root", "usr"]) Deno.mkdirSync(`${root}/${name}`);
    put(`${root}/etc/hosts`, "mydomain 10.0.0.1");
    put(`${root}/etc/profile`, "PATH=/usr/bin");
    put(`${root}/etc/unchanged`, "PATH=/usr/bin");
    put(`${root}/etc/unexpected`, "#!/bin/sh");
  }, (root) => {
    put(`${root}/etc/hosts`, "mydomain 10.0.0.120");
    Deno.mkdirSync(`${root}/root/.vimrc`);
    put(`${root}/etc/profile`, "PATH=/usr/bin:/bin");
    Deno.removeSync(`${root}/etc/unexpected`);
  });
  assertEquals(changes, [
    "C /etc",
    "C /etc/hosts",
    "C /etc/profile",
    "D /etc/unexpected",
    "C /root",
    "A /root/.vimrc",
  ]);
});

Deno.test("TestEmptyFileDiff: empty files whose times are the same are unchanged", () => {
  const changes = diff((root) => put(`${root}/empty`), (root) => {
    Deno.removeSync(`${root}/empty`);
    put(`${root}/empty`);
  });
  assertEquals(changes, []);
});

Deno.test("TestNestedDeletion: only the topmost deleted directory is listed", () => {
  const changes = diff((root) => {
    Deno.mkdirSync(`${root}/d0/d1/d2`, { recursive: true });
    put(`${root}/d0/d1/f1`);
    put(`${root}/d0/d1/d2/f2`);
    Deno.mkdirSync(`${root}/d3`);
  }, (root) => Deno.removeSync(`${root}/d0/d1`, { recursive: true }));
  assertEquals(changes, ["C /d0", "D /d0/d1"]);
});

Deno.test("TestDirectoryReplace: entries that come back the same are none", () => {
  const changes = diff((root) => {
    Deno.mkdirSync(`${root}/dir1`);
    put(`${root}/dir1/f1`);
    put(`${root}/dir1/f2`);
    Deno.mkdirSync(`${root}/dir1/d1`);
    put(`${root}/dir1/d1/f3`);
  }, (root) => {
    put(`${root}/dir1/f11`);
    Deno.removeSync(`${root}/dir1/f2`);
    put(`${root}/dir1/f2`);
    Deno.removeSync(`${root}/dir1/d1`, { recursive: true });
    Deno.mkdirSync(`${root}/dir1/d1`);
    put(`${root}/dir1/d1/f3`, "bigger");
  });
  assertEquals(changes, ["C /dir1", "C /dir1/d1", "C /dir1/d1/f3", "A /dir1/f11"]);
});

Deno.test("TestRemoveDirectoryTree, TestRemoveDirectoryTreeWithDash: names that sort before a slash", () => {
  for (const name of ["dir1", "dir1-2", "dir1!", "dir1."]) {
    const changes = diff((root) => {
      Deno.mkdirSync(`${root}/dir1/sub`, { recursive: true });
      Deno.mkdirSync(`${root}/${name}/sub`, { recursive: true });
      put(`${root}/dir1/f`);
      put(`${root}/${name}/sub/f`);
    }, (root) => Deno.removeSync(`${root}/${name}`, { recursive: true }));
    assertEquals(changes, [`D /${name}`]);
  }
});

Deno.test("TestFileReplace: a file for a directory, and a directory with content for a file", () => {
  const changes = diff((root) => {
    put(`${root}/file`, "content");
    Deno.mkdirSync(`${root}/dir/below`, { recursive: true });
    put(`${root}/dir/below/old`);
    Deno.symlinkSync("dir", `${root}/link`);
  }, (root) => {
    Deno.removeSync(`${root}/file`);
    Deno.mkdirSync(`${root}/file/sub`, { recursive: true });
    put(`${root}/file/sub/new`);
    Deno.removeSync(`${root}/dir`, { recursive: true });
    put(`${root}/dir`, "now a file");
    Deno.removeSync(`${root}/link`);
    Deno.mkdirSync(`${root}/link`);
  });
  assertEquals(changes, ["C /dir", "C /file", "A /file/sub", "A /file/sub/new", "C /link"]);
});

Deno.test("TestParentDirectoryPermission, DirectoryPermission: a directory's mode is its own change", () => {
  const changes = diff((root) => {
    for (const name of ["d1", "d2", "d3"]) {
      Deno.mkdirSync(`${root}/${name}`);
      put(`${root}/${name}/f`);
    }
  }, (root) => {
    Deno.chmodSync(`${root}/d1`, 0o700);
    Deno.chmodSync(`${root}/d2`, 0o1777);
    put(`${root}/d2/f`, "changed");
    put(`${root}/d3/f`, "changed");
  });
  assertEquals(changes, ["C /d1", "C /d2", "C /d2/f", "C /d3", "C /d3/f"]);
});

Deno.test("TestUpdateWithSameTime: an edit that keeps size and time is found by content", () => {
  const changes = diff((root) => {
    put(`${root}/same`, "one and the same");
    put(`${root}/edited`, "before");
    put(`${root}/end`, "x".repeat(600_000) + "1");
  }, (root) => {
    put(`${root}/edited`, "behind");
    put(`${root}/end`, "x".repeat(600_000) + "2");
  });
  assertEquals(changes, ["C /edited", "C /end"]);
});

Deno.test("TestLchtimes: times of links count, to the nanosecond; those of directories do not", () => {
  const changes = diff((root) => {
    Deno.symlinkSync("nowhere", `${root}/link`);
    Deno.mkdirSync(`${root}/dir`);
    put(`${root}/file`);
    setTime(`${root}/link`, -5, 1);
  }, (root) => {
    setTime(`${root}/link`, -5, 2);
    setTime(`${root}/file`, OLD, 1);
    setTime(`${root}/dir`, 1);
  });
  assertEquals(changes, ["C /file", "C /link"]);
});

Deno.test("owners, modes, device numbers, types and attributes count", () => {
  const changes = diff((root) => {
    for (const name of ["acl", "gid", "mode", "same", "uid", "xattr", "xattr-gone"]) {
      put(`${root}/${name}`);
      tryLsetxattr(`${root}/${name}`, "user.a", encode("1"));
      tryLsetxattr(`${root}/${name}`, "user.b", encode("22"));
    }
    for (const name of ["device", "kind"]) makeNode(`${root}/${name}`, S_IFCHR | 0o600, 1, 3);
    Deno.mkdirSync(`${root}/dir`);
    Deno.symlinkSync("x", `${root}/link`);
    for (const name of ["device", "kind", "link"]) setTime(`${root}/${name}`);
  }, (root) => {
    chown(`${root}/uid`, 1, 0);
    chown(`${root}/gid`, 0, 70_000);
    Deno.chmodSync(`${root}/mode`, 0o4755);
    tryLsetxattr(`${root}/xattr`, "user.b", encode("23"));
    must("setfattr", "-x", "user.a", `${root}/xattr-gone`);
    tryLsetxattr(`${root}/dir`, "user.new", encode("1"));
    tryLsetxattr(`${root}/link`, "trusted.new", encode("1"));
    tryLsetxattr(`${root}/same`, "trusted.overlay.origin", encode("not counted"));
    for (const [name, mode] of [["device", S_IFCHR], ["kind", S_IFIFO]] as const) {
      Deno.removeSync(`${root}/${name}`);
      makeNode(`${root}/${name}`, mode | 0o600, 1, name === "kind" ? 3 : 5);
      setTime(`${root}/${name}`);
    }
    tryLsetxattr(`${root}/acl`, "system.posix_acl_access", READABLE_BY_7);
  });
  assertEquals(changes, [
    "C /acl",
    "C /device",
    "C /dir",
    "C /gid",
    "C /kind",
    "C /link",
    "C /mode",
    "C /uid",
    "C /xattr",
    "C /xattr-gone",
  ]);
});

Deno.test("HardlinkUnmodified, HardlinkBeforeUnmodified, HardlinkBeforeModified: links count by content", () => {
  const make = (root: string) => {
    put(`${root}/b`, "content");
    Deno.linkSync(`${root}/b`, `${root}/c`);
  };
  assertEquals(diff(make, (root) => Deno.linkSync(`${root}/b`, `${root}/d`)), ["A /d"]);
  assertEquals(diff(make, (root) => Deno.linkSync(`${root}/b`, `${root}/a`)), ["A /a"]);
  assertEquals(
    diff(make, (root) => {
      Deno.linkSync(`${root}/b`, `${root}/a`);
      Deno.writeTextFileSync(`${root}/b`, "another");
    }),
    ["A /a", "C /b", "C /c"],
  );
  // A link broken into two equal files is no change: entries are compared name by name.
  assertEquals(
    diff(make, (root) => {
      Deno.removeSync(`${root}/c`);
      put(`${root}/c`, "content");
    }),
    [],
  );
});

Deno.test("names of any bytes are listed in the order of comparePaths", () => {
  using dir = tempDir();
  const root = open(dir.path, O_RDONLY | O_DIRECTORY);
  const names = [
    ...["a", "b", "é", "é ", "\u{1f600}", "\uff5e", "日本", "-", "\x01", "new\nline"].map(encode),
    Uint8Array.of(0xff),
    Uint8Array.of(0xc3, 0x28),
    Uint8Array.of(0xc3, 0x80, 0xff),
    new Uint8Array(255).fill(0xe9),
  ];
  for (const name of names) mkdirat(root, entryName(name), 0o755);
  const paths = [...compareTrees(undefined, root)].map(({ path }) => path);
  close(root);
  assertEquals(paths.length, names.length);
  assertEquals(paths, paths.toSorted(comparePaths));
});

Deno.test("a tree 2000 directories deep is compared with few descriptors", () => {
  using dir = tempDir();
  const roots = ["old", "new"].map((name) => `${dir.path}/${name}`);
  for (const root of roots) {
    Deno.mkdirSync(root);
    deepen(root, 2000);
  }
  assertEquals(compared(roots[0], roots[1]), []);
  const [most, last] = withDirectories(roots, (_, child) => {
    let most = 0, last = "";
    for (const { path } of compareTrees(undefined, child)) {
      last = path;
      if (path.length % 500 < 5) {
        most = Math.max(most, openDescriptors());
      }
    }
    return [most, last];
  });
  assertEquals(last, "/deep".repeat(2000));
  assert(most > 64 && most < 128, `${most} descriptors`);
  for (const root of roots) must("rm", "-rf", root);
});

/** Makes directories in each other, with a file beside each. */
function deepen(root: string, levels: number): void {
  let fd = open(root, O_RDONLY | O_DIRECTORY);
  for (let i = 0; i < levels; i++) {
    mkdirat(fd, entryName("deep"), 0o755);
    const below = openat(fd, entryName("deep"), O_RDONLY | O_DIRECTORY);
    Deno.symlinkSync("nowhere", `/proc/self/fd/${fd}/and after`);
    setTime(`/proc/self/fd/${fd}/and after`);
    close(fd);
    fd = below;
  }
  close(fd);
}

Deno.test("an abandoned comparison leaves no descriptor open", () => {
  using dir = tempDir();
  sample(dir.path);
  const root = open(dir.path, O_RDONLY | O_DIRECTORY);
  const before = openDescriptors();
  for (const _ of compareTrees(undefined, root)) break;
  assertEquals(openDescriptors(), before);
  close(root);
});

Deno.test("a parent that is no directory is refused by name of the error", () => {
  using dir = tempDir();
  put(`${dir.path}/file`);
  const file = open(`${dir.path}/file`, O_RDONLY);
  const root = open(dir.path, O_RDONLY | O_DIRECTORY);
  let message = "";
  try {
    lines(compareTrees(file, root));
  } catch (error) {
    message = (error as Error).message;
  }
  assert(message.includes("not a directory"), message);
  close(file);
  close(root);
});
