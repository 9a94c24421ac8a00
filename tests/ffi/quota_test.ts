/** Project quotas as the kernel keeps them, on a file system mounted with them. */
// @runs on guest ext4, guest xfs
import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { SyscallError } from "../../ffi/errno.ts";
import { O_DIRECTORY, O_RDONLY, open, withFd } from "../../ffi/files.ts";
import {
  hasProjectIds,
  IF_DQBLK,
  projectId,
  projectUsage,
  Q_GETQUOTA,
  quotaState,
  setProjectId,
  setProjectLimits,
  tryQuotactlByDevice,
} from "../../ffi/quota.ts";
import { lstat } from "../../ffi/stat.ts";
import { Struct } from "../../ffi/struct.ts";
import { readMountInfo } from "../../lib/mount/mountinfo.ts";
import { must, run, tempDir, TEST_FS } from "../support/cases.ts";

const MIB = 2 ** 20;

/** Runs a case on a directory that carries a project id. */
function withProject(id: number, body: (directory: string, fd: number) => void): void {
  using dir = tempDir();
  withFd(open(dir.path, O_RDONLY | O_DIRECTORY), (fd) => {
    setProjectId(fd, id, dir.path);
    body(dir.path, fd);
  });
}

/**
 * Runs a program that the limits bind: ext4 (and all with generic quotas) lets a process with CAP_SYS_RESOURCE
 * exceed them, which a container's processes do not have.
 */
const bound = (program: string, ...args: string[]) =>
  run("setpriv", "--bounding-set=-sys_resource", program, ...args);

/** Writes some MiB; XFS says "no space" of a project's limit, ext4 "quota exceeded". */
const fill = (path: string, mebibytes: number) =>
  bound("dd", "if=/dev/zero", `of=${path}`, "bs=1M", `count=${mebibytes}`);
const REFUSED = /No space left on device|Disk quota exceeded/;

Deno.test("the file system counts projects and keeps to limits", () => {
  using dir = tempDir();
  withFd(open(dir.path, O_RDONLY), (fd) => {
    assertEquals(hasProjectIds(fd), true);
    assertEquals(quotaState({ fd }), { accounting: true, enforcing: true });
  });
});

Deno.test("tmpfs counts none", () => {
  withFd(open("/dev/shm", O_RDONLY), (fd) => {
    assertEquals(quotaState({ fd }), { accounting: false, enforcing: false });
    assertThrows(() => setProjectLimits({ fd }, 7, { bytes: 1, inodes: 1 }), SyscallError);
  });
});

Deno.test("what is made in a directory inherits its project", () => {
  withProject(4001, (path, fd) => {
    Deno.mkdirSync(`${path}/sub`);
    Deno.writeTextFileSync(`${path}/sub/f`, "x");
    for (const name of ["sub", "sub/f"]) {
      withFd(open(`${path}/${name}`, O_RDONLY), (inner) => assertEquals(projectId(inner), 4001));
    }
    assertEquals(projectId(fd), 4001);
    if (TEST_FS.startsWith("ext4")) {
      assertEquals(must("lsattr", "-dp", path).trim().split(/\s+/)[0], "4001");
    } else {
      assertEquals(must("xfs_io", "-c", "lsproj", path).trim(), "projid = 4001");
    }
  });
});

Deno.test("a limit of bytes stops a write, within the limit", () => {
  withProject(4002, (path, fd) => {
    setProjectLimits({ fd }, 4002, { bytes: 5 * MIB, inodes: 0 });
    const refused = fill(`${path}/f`, 8);
    assertEquals(refused.success, false);
    assertMatch(refused.stderr, REFUSED);
    const { size } = lstat(`${path}/f`);
    assert(size >= 4 * MIB && size <= 5 * MIB, `${size} bytes`);
    must("sync", "-f", path);
    const usage = projectUsage({ fd }, 4002);
    assertEquals([usage.bytes, usage.inodes], [5 * MIB, 0]);
    assert(usage.usedBytes >= 4 * MIB && usage.usedBytes <= 5 * MIB, `${usage.usedBytes} used`);
    assertEquals(usage.usedInodes, 2);
    setProjectLimits({ fd }, 4002, { bytes: 0, inodes: 0 });
    assertEquals(fill(`${path}/g`, 6).success, true);
  });
});

Deno.test("a limit of inodes stops new files", () => {
  withProject(4003, (path, fd) => {
    setProjectLimits({ fd }, 4003, { bytes: 0, inodes: 5 });
    const refused = bound("touch", ...Array.from({ length: 10 }, (_, i) => `${path}/f${i}`));
    assertMatch(refused.stderr, REFUSED);
    assertEquals([...Deno.readDirSync(path)].length, 4); // and the directory itself
    assertEquals(projectUsage({ fd }, 4003).usedInodes, 5);
  });
});

Deno.test("a project that nothing was counted for has no limits", () => {
  withProject(4004, (_, fd) => {
    const none = { bytes: 0, inodes: 0, usedBytes: 0, usedInodes: 0 };
    assertEquals(projectUsage({ fd }, 4_000_000_000), none);
  });
});

Deno.test("quotactl by the device's path says the same, for kernels without quotactl_fd", () => {
  withProject(4005, (path, fd) => {
    setProjectLimits({ fd }, 4005, { bytes: 7 * MIB, inodes: 9 });
    const mount = readMountInfo().findLast(({ mountPoint }) => path.startsWith(`${mountPoint}/`));
    const quota = new Struct(IF_DQBLK);
    assertEquals(tryQuotactlByDevice(mount!.source, Q_GETQUOTA, 4005, quota.bytes), 0);
    assertEquals(quota.get("dqb_bhardlimit") * 1024, 7 * MIB);
    assertEquals(quota.get("dqb_ihardlimit"), 9);
  });
});
