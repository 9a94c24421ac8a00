import { assertEquals, assertThrows } from "@std/assert";
import {
  DT_CHR,
  DT_DIR,
  DT_FIFO,
  DT_LNK,
  DT_REG,
  readEntries,
  readListing,
  readNames,
  readSubdirectories,
} from "../../ffi/directory.ts";
import { entryName, nameText } from "../../ffi/entry_name.ts";
import { EEXIST, EINVAL, ENOENT, ENOTDIR, ENOTEMPTY, SyscallError } from "../../ffi/errno.ts";
import {
  close,
  lseek,
  O_CREAT,
  O_DIRECTORY,
  O_RDONLY,
  O_WRONLY,
  open,
  openat,
  openat2,
  RESOLVE_INSIDE,
  SEEK_SET,
  withFd,
} from "../../ffi/files.ts";
import { fstat, lstat, Stat, tryLstat, tryStatat } from "../../ffi/stat.ts";
import {
  AT_REMOVEDIR,
  fchmod,
  fchown,
  makedev,
  mkdirat,
  mknodat,
  readlinkat,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  renameat,
  S_IFCHR,
  S_IFIFO,
  symlinkat,
  Times,
  tryFutimens,
  tryLchownat,
  tryLinkat,
  tryLutimensat,
  tryMkdirat,
  tryReadlinkat,
  tryRenameat,
  tryUnlinkat,
  unlinkat,
  UTIME_OMIT,
} from "../../ffi/names.ts";
import { umask } from "../../ffi/process.ts";
import { must, tempDir } from "../support/cases.ts";

/** Runs a case on the descriptor of a directory of its own. */
function inDirectory(body: (dirfd: number, path: string) => void): () => void {
  return () => {
    using dir = tempDir();
    withFd(open(dir.path, O_RDONLY | O_DIRECTORY), (fd) => body(fd, dir.path));
  };
}

const touch = (dirfd: number, path: string) =>
  close(openat2(dirfd, path, O_WRONLY | O_CREAT, RESOLVE_INSIDE, 0o600));

Deno.test(
  "entries of every kind are what stat(1) and getdents say",
  inDirectory((fd, path) => {
    const former = umask(0);
    touch(fd, "file");
    mkdirat(fd, entryName("dir"), 0o1777);
    symlinkat("file", fd, entryName("link"));
    mknodat(fd, entryName("fifo"), S_IFIFO | 0o644);
    mknodat(fd, entryName("null"), S_IFCHR | 0o666, makedev(1, 3));
    mknodat(fd, entryName("whiteout"), S_IFCHR, makedev(0, 0));
    umask(former);
    const types = readEntries(fd).map(({ name, type }) => [
      new TextDecoder().decode(name.subarray(0, -1)),
      type,
    ]);
    assertEquals(Object.fromEntries(types), {
      file: DT_REG,
      dir: DT_DIR,
      link: DT_LNK,
      fifo: DT_FIFO,
      null: DT_CHR,
      whiteout: DT_CHR,
    });
    for (const name of ["file", "dir", "link", "fifo", "null", "whiteout"]) {
      const stat = lstat(`${path}/${name}`);
      const ours = [
        stat.mode.toString(16),
        stat.links,
        stat.inode,
        stat.uid,
        stat.gid,
        stat.size,
        stat.blocks,
        stat.rdevMajor,
        stat.rdevMinor,
        `${stat.seconds}.${String(stat.nanos).padStart(9, "0")}`,
      ].join(" ");
      assertEquals(
        ours,
        must("stat", "-c", "%f %h %i %u %g %s %b %Hr %Lr %.9Y", `${path}/${name}`).trim(),
        name,
      );
    }
    assertEquals(lstat(`${path}/null`).isDevice, true);
    assertEquals(lstat(`${path}/link`).isSymlink, true);
    assertEquals(fstat(fd).isDirectory, true);
    assertEquals(readlinkat(fd, entryName("link")), "file");
  }),
);

Deno.test(
  "a directory that was removed after it was opened has no entries",
  inDirectory((fd) => {
    const name = entryName("dir");
    mkdirat(fd, name, 0o700);
    withFd(openat(fd, name, O_RDONLY | O_DIRECTORY), (removed) => {
      unlinkat(fd, name, AT_REMOVEDIR);
      assertEquals(readNames(removed), []);
      assertEquals(readListing(removed).length, 0);
    });
  }),
);

Deno.test(
  "subdirectories are listed without other entries, and one name is looked for",
  inDirectory((fd) => {
    const directories = Array.from({ length: 700 }, (_, i) => `${"d".repeat(i % 90)}${i}`);
    for (const name of directories) mkdirat(fd, entryName(name), 0o700);
    for (const name of ["file", "marker", "..."]) touch(fd, name);
    const wanted = ["...", "d", "file", "marke", "marker", "markers", directories[699]];
    const found = wanted.map((name) => {
      lseek(fd, 0n, SEEK_SET);
      const { names, has } = readSubdirectories(fd, entryName(name));
      assertEquals(names.map(nameText).sort(), directories.toSorted());
      return has;
    });
    assertEquals(found, [true, false, true, false, true, false, true]);
    assertEquals(readSubdirectories(fd, entryName("file")), { names: [], has: false });
  }),
);

Deno.test(
  "a directory that needs many reads is listed whole, twice after rewinding",
  inDirectory((fd) => {
    const names = Array.from({ length: 3000 }, (_, i) => `${"n".repeat(i % 200)}${i}`);
    for (const name of names) touch(fd, name);
    assertEquals(readNames(fd), names.toSorted());
    assertEquals(readNames(fd), []);
    lseek(fd, 0n, SEEK_SET);
    assertEquals(readEntries(fd).length, 3000);
  }),
);

Deno.test(
  "links, renames and removals",
  inDirectory((fd) => {
    touch(fd, "a");
    assertEquals(tryLinkat(fd, entryName("a"), fd, entryName("b")), 0);
    symlinkat("a", fd, entryName("s"));
    assertEquals(tryLinkat(fd, entryName("s"), fd, entryName("s2")), 0); // the link itself, not what it names
    assertEquals(readlinkat(fd, entryName("s2")), "a");
    const stat = new Stat();
    tryStatat(fd, entryName("b"), stat);
    assertEquals(stat.links, 2);
    mkdirat(fd, entryName("d"), 0o755);
    touch(fd, "d/x");
    assertEquals(tryRenameat(fd, entryName("a"), fd, entryName("b"), RENAME_NOREPLACE), -EEXIST);
    renameat(fd, entryName("d"), fd, entryName("b"), RENAME_EXCHANGE);
    assertEquals(readNames(fd), ["a", "b", "d", "s", "s2"]);
    tryStatat(fd, entryName("b"), stat);
    assertEquals(stat.isDirectory, true);
    assertEquals(tryUnlinkat(fd, entryName("b"), AT_REMOVEDIR), -ENOTEMPTY);
    withFd(openat(fd, entryName("b"), O_RDONLY), (b) => unlinkat(b, entryName("x")));
    unlinkat(fd, entryName("b"), AT_REMOVEDIR);
    assertEquals(tryUnlinkat(fd, entryName("b")), -ENOENT);
    withFd(openat(fd, entryName("a"), O_RDONLY), (a) => {
      assertEquals(tryMkdirat(a, entryName("x"), 0o755), -ENOTDIR);
    });
    assertEquals(tryReadlinkat(fd, entryName("a")), -EINVAL);
    const error = assertThrows(() => mkdirat(fd, entryName("a"), 0o755), SyscallError);
    assertEquals(error.message, "mkdirat a: file exists (EEXIST)");
  }),
);

Deno.test(
  "a link's target of 4,095 bytes is read whole",
  inDirectory((fd) => {
    const target = "t/".repeat(2047) + "t";
    symlinkat(target, fd, entryName("long"));
    assertEquals(readlinkat(fd, entryName("long")), target);
  }),
);

Deno.test(
  "owners and modes, to the largest id",
  inDirectory((fd, path) => {
    touch(fd, "f");
    symlinkat("f", fd, entryName("s"));
    assertEquals(tryLchownat(fd, entryName("s"), 0xffff_fffe, 70_000), 0);
    assertEquals([lstat(`${path}/s`).uid, lstat(`${path}/s`).gid], [0xffff_fffe, 70_000]);
    assertEquals(lstat(`${path}/f`).uid, 0);
    withFd(openat(fd, entryName("f"), O_RDONLY), (file) => {
      fchown(file, 1, 2);
      fchown(file, 0xffff_ffff, 3); // leaves the user as it is
      fchmod(file, 0o6751);
    });
    const stat = lstat(`${path}/f`);
    assertEquals([stat.uid, stat.gid, stat.mode & 0o7777], [1, 3, 0o6751]);
  }),
);

Deno.test(
  "times to the nanosecond, before 1970 and after 2038, of links too",
  inDirectory((fd, path) => {
    touch(fd, "f");
    symlinkat("f", fd, entryName("s"));
    const times = new Times();
    for (const seconds of [0, -1, -1_000_000, 1_700_000_000, 2 ** 31, 2 ** 33]) {
      assertEquals(
        tryLutimensat(fd, entryName("s"), times.set(seconds, 1, seconds, 999_999_999)),
        0,
      );
      const stat = lstat(`${path}/s`);
      const ours = [stat.accessSeconds, stat.accessNanos, stat.seconds, stat.nanos];
      assertEquals(ours, [seconds, 1, seconds, 999_999_999]);
    }
    withFd(openat(fd, entryName("f"), O_RDONLY), (file) => {
      tryFutimens(file, times.set(5, 6, 7, 8));
      tryFutimens(file, times.set(0, UTIME_OMIT, 9, 10));
      const stat = fstat(file);
      assertEquals([stat.accessSeconds, stat.accessNanos, stat.seconds, stat.nanos], [5, 6, 9, 10]);
    });
  }),
);

Deno.test(
  "what is not there is undefined, whatever else fails throws",
  inDirectory((fd, path) => {
    touch(fd, "f");
    assertEquals(tryLstat(`${path}/none`), undefined);
    assertEquals(tryLstat(`${path}/f/x`), undefined);
    assertThrows(() => tryLstat(`${path}/${"n".repeat(256)}`), SyscallError, "ENAMETOOLONG");
  }),
);
