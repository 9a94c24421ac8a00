/** Paths below a root: what was planted there leads no call out of it. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { AT_REMOVEDIR } from "../../ffi/names.ts";
import { EEXIST, ELOOP, ENOENT, ESTALE } from "../../ffi/errno.ts";
import { O_CREAT, O_RDONLY, O_WRONLY, withFd } from "../../ffi/files.ts";
import {
  type ConfinedPath,
  exists,
  isDirectory,
  list,
  makeDirectory,
  mkdir,
  open,
  openDirectory,
  openWithoutLinks,
  removeTree,
  rename,
  tryLchown,
  tryLstat,
  tryMkdir,
  tryOpen,
  tryReadlink,
  tryRename,
  trySymlink,
  tryUnlink,
} from "../../lib/tree/confined.ts";
import {
  readMetadata,
  removeMetadata,
  syncDirectory,
  TEMPORARY_SUFFIX,
  writeFile,
  writeMetadata,
} from "../../lib/store/metadata.ts";
import { confinedAt } from "../support/confined_at.ts";
import { lacksProgram, must, needs, tempDir } from "../support/cases.ts";
import { Victim } from "../support/victim.ts";
import { refuses } from "../support/errors.ts";

/** A root with a link to a victim beside it: as a name of its own and as a directory on the way. */
function withLink(use: (root: ConfinedPath, victim: Victim) => void): void {
  using dir = tempDir();
  Deno.mkdirSync(`${dir.path}/root/dir`, { recursive: true });
  const victim = new Victim(`${dir.path}/victim`);
  Deno.symlinkSync("../victim", `${dir.path}/root/link`);
  use(confinedAt(`${dir.path}/root`), victim);
  victim.assertUntouched();
}

Deno.test("confined: no call goes through a link, whichever way it is asked", () =>
  withLink((root) => {
    const behind = root.join("link", "new"), present = root.join("link", "precious");
    const calls: [string, () => number | string][] = [
      ["open", () => tryOpen(present, O_RDONLY)],
      ["open the link itself", () => tryOpen(root.join("link"), O_RDONLY)],
      ["create", () => tryOpen(behind, O_WRONLY | O_CREAT, 0o600)],
      ["mkdir", () => tryMkdir(behind, 0o700)],
      ["symlink", () => trySymlink("x", behind)],
      ["readlink", () => tryReadlink(present)],
      ["unlink", () => tryUnlink(present)],
      ["rmdir", () => tryUnlink(root.join("link", "empty"), AT_REMOVEDIR)],
      ["rename out", () => tryRename(present, root.join("taken"))],
      ["rename in", () => tryRename(root.join("dir"), behind)],
      ["chown", () => tryLchown(present, 5, 5)],
    ];
    for (const [what, call] of calls) {
      assertEquals(call(), -ELOOP, what);
    }
    assertEquals(tryLstat(present), undefined);
    assertEquals([exists(present), isDirectory(root.join("link"))], [false, false]);
  }));

Deno.test("confined: what a link keeps from being done is named", () =>
  withLink((root) => {
    const behind = root.join("link", "new");
    const calls: (() => unknown)[] = [
      () => open(behind, O_WRONLY | O_CREAT, 0o600),
      () => openDirectory(root.join("link")),
      () => list(root.join("link")),
      () => mkdir(behind, 0o700),
      () => makeDirectory(behind, 0o700),
      () => makeDirectory(root.join("link"), 0o700),
      () => rename(behind, root.join("taken")),
      () => writeMetadata(behind, "x"),
      () => writeFile(behind, "x"),
      () => readMetadata(root.join("link", "precious")),
      () => removeTree(root.join("link", "empty")),
      () => syncDirectory(root.join("link")),
    ];
    for (const call of calls) {
      const message = refuses("corrupt store", call);
      assert(message.startsWith(`${root}/link`), `${call}: ${message}`);
    }
  }));

Deno.test("confined: a link is renamed and removed itself", () =>
  withLink((root) => {
    rename(root.join("link"), root.join("dir", "moved"));
    assertEquals(list(root.join("dir")), ["moved"]);
    assertEquals(tryReadlink(root.join("dir", "moved")), "../victim");
    removeTree(root.join("dir"));
    assertEquals(list(root.join()), []);
  }));

Deno.test("confined: no name leads up", () =>
  withLink((root) => {
    for (const path of ["..", "../victim/new", "dir/../../victim/new", "dir/..", "/etc/new"]) {
      let result: unknown;
      try {
        result = tryMkdir(root.join(path), 0o700);
      } catch (error) {
        assert(error instanceof RangeError, String(error));
        continue;
      }
      assert(typeof result === "number" && result < 0 && result !== -EEXIST, `${path}: ${result}`);
    }
  }));

Deno.test("confined: a root that was replaced is not worked on", () => {
  using dir = tempDir();
  Deno.mkdirSync(`${dir.path}/root`);
  const root = confinedAt(`${dir.path}/root`);
  mkdir(root.join("before"), 0o700);
  Deno.renameSync(`${dir.path}/root`, `${dir.path}/moved`);
  const victim = new Victim(`${dir.path}/victim`);
  for (const target of ["directory", "link"]) {
    if (target === "directory") Deno.renameSync(victim.path, `${dir.path}/root`);
    else {
      Deno.renameSync(`${dir.path}/root`, victim.path);
      Deno.symlinkSync("victim", `${dir.path}/root`);
    }
    const result = tryMkdir(root.join("new"), 0o700);
    assert(result === -ESTALE || result === -ELOOP || result === -20, `${target}: ${result}`);
    assertThrows(() => list(root.join()));
    if (target === "directory") {
      refuses("failed precondition", () => mkdir(root.join("new"), 0o700));
    }
  }
  assertEquals([...Deno.readDirSync(victim.path)].filter(({ name }) => name === "new"), []);
});

needs(lacksProgram("mount"), "confined: what is mounted on and below a root since is seen", () => {
  using dir = tempDir();
  Deno.mkdirSync(`${dir.path}/root/at`, { recursive: true });
  const root = confinedAt(`${dir.path}/root`);
  must("mount", "--bind", `${dir.path}/root`, `${dir.path}/root`);
  must("mount", "-t", "tmpfs", "-o", "mode=0700", "tmpfs", `${dir.path}/root/at`);
  Deno.writeTextFileSync(`${dir.path}/root/at/file`, "on the mount");
  assertEquals(readMetadata(root.join("at", "file")), "on the mount");
  assertEquals(tryUnlink(root.join("at"), AT_REMOVEDIR), -16);
  // And the mount of the root is not kept busy.
  must("umount", `${dir.path}/root/at`);
  must("umount", `${dir.path}/root`);
  assertEquals(list(root.join("at")), []);
});

Deno.test("confined: a held root gives the same answers, and errors", () =>
  withLink((root) => {
    root.root.hold(() => {
      assertEquals(tryMkdir(root.join("dir", "a"), 0o700), 0);
      root.root.hold(() => assertEquals(list(root.join("dir")), ["a"]));
      assertEquals(tryMkdir(root.join("link", "a"), 0o700) < 0, true);
      assertEquals(tryOpen(root.join("none"), O_RDONLY), -ENOENT);
    });
    Deno.renameSync(root.text, `${root.text}-moved`);
    Deno.mkdirSync(root.text);
    root.root.hold(() => assertEquals(tryMkdir(root.join("b"), 0o700), -ESTALE));
    Deno.removeSync(root.text);
    Deno.renameSync(`${root.text}-moved`, root.text);
  }));

Deno.test("confined: an absolute path is opened where no part of it is a link", () =>
  withLink((root) => {
    withFd(openWithoutLinks(Deno.realPathSync(`${root}/dir`), O_RDONLY), () => {});
    for (const path of ["link", "link/empty"]) {
      const message = refuses("corrupt store", () => openWithoutLinks(`${root}/${path}`, O_RDONLY));
      assert(message.startsWith(`${root}/${path} is a symbolic link`), message);
    }
  }));

/** What can stand in a record's place, and what is said of it. */
const NO_RECORDS: [string, (path: string) => void, RegExp][] = [
  ["a fifo", (path) => must("mkfifo", path), /is not a regular file/],
  ["a directory", (path) => Deno.mkdirSync(path), /is not a regular file/],
  ["a device", (path) => must("mknod", path, "c", "1", "5"), /is not a regular file/],
  ["a device that is not there", (path) => must("mknod", path, "c", "99", "99"), /regular file/],
  ["a socket", (path) => Deno.listen({ transport: "unix", path }).close(), /regular file|^$/],
  ["a link", (path) => Deno.symlinkSync("/etc/passwd", path), /symbolic link/],
  ["a dangling link", (path) => Deno.symlinkSync("/none", path), /symbolic link/],
  ["2 MiB", (path) => Deno.writeFileSync(path, new Uint8Array(2 << 20)), /has 2097152 bytes/],
  ["1 TiB of holes", (path) => must("truncate", "-s", "1T", path), /has 1099511627776 bytes/],
];

for (const [what, plant, said] of NO_RECORDS) {
  Deno.test(`metadata: ${what} is no record, and can be replaced`, () => {
    using dir = tempDir();
    const path = confinedAt(dir.path, "record");
    plant(path.text);
    if (!exists(path)) return; // A socket's name goes with its listener.
    const message = refuses("corrupt store", () => readMetadata(path));
    assert(message.startsWith(path.text) && said.test(message), message);
    if (!isDirectory(path)) {
      writeMetadata(path, "whole");
      assertEquals(readMetadata(path), "whole");
    }
    assertEquals(removeMetadata(path), true);
    assertEquals([...Deno.readDirSync(dir.path)], []);
  });
}

Deno.test("metadata: what was planted beside a record is neither waited for nor written to", () => {
  using dir = tempDir();
  const path = confinedAt(dir.path, "record"), beside = path.text + TEMPORARY_SUFFIX;
  const precious = `${dir.path}/precious`;
  Deno.writeTextFileSync(precious, "precious");
  const plants: (() => void)[] = [
    () => must("mkfifo", beside),
    () => Deno.symlinkSync("precious", beside),
    () => Deno.linkSync(precious, beside),
  ];
  for (const plant of plants) {
    plant();
    writeMetadata(path, "whole");
    assertEquals(readMetadata(path), "whole");
    assertEquals(Deno.readTextFileSync(precious), "precious");
  }
  for (const plant of [() => must("mkfifo", path.text), () => Deno.linkSync(precious, path.text)]) {
    removeMetadata(path);
    plant();
    writeFile(path, "in place");
    assertEquals(readMetadata(path), "in place");
    assertEquals(Deno.readTextFileSync(precious), "precious");
  }
});
