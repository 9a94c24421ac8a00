import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { entryName } from "../../ffi/entry_name.ts";
import { EINVAL, ENODEV, SyscallError } from "../../ffi/errno.ts";
import {
  close,
  O_CREAT,
  O_DIRECTORY,
  O_PATH,
  O_RDONLY,
  O_WRONLY,
  open,
  openat,
  withFd,
} from "../../ffi/files.ts";
import {
  contextMessages,
  FSCONFIG_CMD_CREATE,
  FSCONFIG_SET_STRING,
  FSCONFIG_STRING_MAX,
  fsconfigCreate,
  fsconfigFlag,
  fsconfigString,
  fsmount,
  fsopen,
  MOUNT_ATTR_NODEV,
  moveMount,
  tryCloneMount,
  tryFsconfig,
  tryFsopen,
} from "../../ffi/fsmount.ts";
import { umount } from "../../ffi/mount.ts";
import { fstatfs, OVERLAY_MAGIC, statfs, TMPFS_MAGIC } from "../../ffi/statfs.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { descriptorPath } from "../../ffi/xattr.ts";
import { lacksFileSystem, mountPoints, must, needs, tempDir } from "../support/cases.ts";
import { names } from "../support/files.ts";

Deno.test("tmpfs: configured, made, moved into place", () => {
  using dir = tempDir();
  const mount = withFd(fsopen("tmpfs"), (context) => {
    fsconfigString(context, "source", "veneer");
    fsconfigString(context, "size", "2m");
    fsconfigFlag(context, "inode64");
    fsconfigCreate(context);
    return fsmount(context, MOUNT_ATTR_NODEV);
  });
  withFd(mount, (mount) => {
    assertEquals(fstatfs(mount).type, TMPFS_MAGIC);
    // Used before anybody else can see it.
    close(openat(mount, entryName("f"), O_WRONLY | O_CREAT, 0o600));
    assertEquals(mountPoints(dir.path), []);
    moveMount(mount, dir.path);
  });
  assertEquals(statfs(dir.path).totalBytes, 2 << 20);
  assertEquals(names(dir.path), ["f"]);
  assertMatch(must("findmnt", "-n", "-r", "-o", "SOURCE,OPTIONS", dir.path), /^veneer rw,nodev,/);
  umount(dir.path);
});

Deno.test("a mount that was never moved goes with its descriptor", () => {
  const before = Deno.readTextFileSync("/proc/self/mountinfo");
  withFd(fsopen("tmpfs"), (context) => {
    fsconfigCreate(context);
    close(fsmount(context));
  });
  assertEquals(Deno.readTextFileSync("/proc/self/mountinfo"), before);
});

Deno.test("a copy of a mount, with a directory as its root, is put somewhere", () => {
  using dir = tempDir();
  for (const name of ["from", "to"]) Deno.mkdirSync(`${dir.path}/${name}`);
  Deno.writeTextFileSync(`${dir.path}/from/f`, "x");
  withFd(open(`${dir.path}/from`, O_PATH | O_DIRECTORY), (from) => {
    withFd(unwrap(tryCloneMount(from), "open_tree"), (copy) => moveMount(copy, `${dir.path}/to`));
  });
  assertEquals(Deno.readTextFileSync(`${dir.path}/to/f`), "x");
  assertEquals(mountPoints(dir.path).length, 1);
});

Deno.test("what the file system complains of is in the error", () => {
  withFd(fsopen("tmpfs"), (context) => {
    const unknown = assertThrows(() => fsconfigString(context, "nosuch", "1"), SyscallError);
    assertEquals(
      unknown.message,
      "fsconfig nosuch=1: invalid argument (EINVAL): tmpfs: Unknown parameter 'nosuch'",
    );
    assertEquals(tryFsconfig(context, FSCONFIG_SET_STRING, "size", "bad"), -EINVAL);
    assertEquals(contextMessages(context), ["tmpfs: Bad value for 'size'"]);
    assertEquals(contextMessages(context), []);
  });
  assertEquals(tryFsopen("nosuchfs"), -ENODEV);
  assertThrows(() => fsopen("nosuchfs"), SyscallError, "fsopen nosuchfs: no such device");
});

/** Overlay's directories in a case's own: two lowers, an upper with its work, a mount point. */
function overlayDirectories(path: string) {
  for (const name of ["l1", "l2", "upper", "work", "merged"]) Deno.mkdirSync(`${path}/${name}`);
  Deno.writeTextFileSync(`${path}/l1/f`, "first");
  Deno.writeTextFileSync(`${path}/l2/f`, "second");
  Deno.writeTextFileSync(`${path}/l2/g`, "only here");
}

/**
 * Why overlay takes no `lowerdir+` here, if it does not: found by making one, since before Linux 6.5 overlay
 * takes whatever it is told and refuses when it is made.
 */
function lacksLowerdirPlus(): string | undefined {
  const lacking = lacksFileSystem("overlay");
  if (lacking) return lacking;
  using dir = tempDir();
  overlayDirectories(dir.path);
  return withFd(fsopen("overlay"), (context) => {
    tryFsconfig(context, FSCONFIG_SET_STRING, "lowerdir+", `${dir.path}/l1`);
    tryFsconfig(context, FSCONFIG_SET_STRING, "lowerdir+", `${dir.path}/l2`);
    return tryFsconfig(context, FSCONFIG_CMD_CREATE, null, null) === 0
      ? undefined
      : "the kernel's overlay has no lowerdir+ (Linux 6.7)";
  });
}

needs(lacksLowerdirPlus(), "overlay: layers one by one, uppermost first, by short paths", () => {
  using dir = tempDir();
  overlayDirectories(dir.path);
  withFd(open(dir.path, O_RDONLY | O_DIRECTORY), (home) => {
    const mount = withFd(fsopen("overlay"), (context) => {
      const at = (name: string) => `/proc/self/fd/${home}/${name}`;
      fsconfigString(context, "source", "overlay");
      fsconfigString(context, "lowerdir+", at("l1"));
      fsconfigString(context, "lowerdir+", at("l2"));
      fsconfigString(context, "upperdir", at("upper"));
      fsconfigString(context, "workdir", at("work"));
      fsconfigCreate(context);
      return fsmount(context);
    });
    withFd(mount, (mount) => moveMount(mount, descriptorPath(home, "merged")));
  });
  const merged = `${dir.path}/merged`;
  assertEquals(statfs(merged).type, OVERLAY_MAGIC);
  assertEquals(Deno.readTextFileSync(`${merged}/f`), "first");
  assertEquals(Deno.readTextFileSync(`${merged}/g`), "only here");
  Deno.removeSync(`${merged}/g`);
  assertEquals(Deno.lstatSync(`${dir.path}/upper/g`).isCharDevice, true);
});

needs(lacksLowerdirPlus(), "overlay: its words for a bad layer, and the limit of strings", () => {
  using dir = tempDir();
  overlayDirectories(dir.path);
  withFd(fsopen("overlay"), (context) => {
    const long = "/".repeat(FSCONFIG_STRING_MAX - dir.path.length - 3) + `${dir.path}/l1`;
    assertEquals(long.length, FSCONFIG_STRING_MAX);
    fsconfigString(context, "lowerdir+", long);
    const refused = tryFsconfig(context, FSCONFIG_SET_STRING, "lowerdir+", `/${long}`);
    assertEquals(refused, -EINVAL);
    const missing = assertThrows(
      () => fsconfigString(context, "lowerdir+", `${dir.path}/none`),
      SyscallError,
    );
    assertMatch(
      missing.message,
      /^fsconfig lowerdir\+=\S+none: no such file or directory \(ENOENT\)/,
    );
  });
  withFd(fsopen("overlay"), (context) => {
    fsconfigString(context, "lowerdir", `${dir.path}/l1`);
    const error = assertThrows(
      () => fsconfigString(context, "lowerdir+", `${dir.path}/l2`),
      SyscallError,
    );
    assertEquals(
      error.message,
      `fsconfig lowerdir+=${dir.path}/l2: invalid argument (EINVAL): ` +
        "overlay: lowerdir+ and datadir+ cannot follow lowerdir",
    );
  });
});
