/** Project quotas as the kernel keeps them, on a file system mounted with them. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { EDQUOT, SyscallError } from "../../ffi/errno.ts";
import {
  AT_FDCWD,
  O_CREAT,
  O_DIRECTORY,
  O_RDONLY,
  O_WRONLY,
  open,
  openat,
  tryOpenat,
  tryWrite,
  withFd,
} from "../../ffi/files.ts";
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
import { Struct } from "../../ffi/struct.ts";
import { readMountInfo } from "../../lib/mountinfo.ts";
import { must, tempDir, TEST_FS } from "../support.ts";

const MIB = 2 ** 20;

/** Runs a case on a directory that carries a project id. */
function withProject(id: number, body: (directory: string, fd: number) => void): void {
  using dir = tempDir();
  withFd(open(dir.path, O_RDONLY | O_DIRECTORY), (fd) => {
    setProjectId(fd, id, dir.path);
    body(dir.path, fd);
  });
}

/** Writes up to `mebibytes` and tells how many bytes went and how the write ended. */
function fill(path: string, mebibytes: number): { bytes: number; errno: number } {
  const block = new Uint8Array(MIB).fill(0x61);
  return withFd(openat(AT_FDCWD, path, O_WRONLY | O_CREAT, 0o600), (fd) => {
    let bytes = 0;
    while (bytes < mebibytes * MIB) {
      const put = tryWrite(fd, block);
      if (put < 0) return { bytes, errno: -put };
      bytes += put;
    }
    return { bytes, errno: 0 };
  });
}

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
    const { bytes, errno } = fill(`${path}/f`, 8);
    assert(errno === EDQUOT || errno === 28, `errno ${errno}`); // XFS says ENOSPC of projects
    assert(bytes >= 4 * MIB && bytes <= 5 * MIB, `${bytes} bytes`);
    must("sync", "-f", path);
    const usage = projectUsage({ fd }, 4002);
    assertEquals([usage.bytes, usage.inodes], [5 * MIB, 0]);
    assert(usage.usedBytes >= 4 * MIB && usage.usedBytes <= 5 * MIB, `${usage.usedBytes} used`);
    assertEquals(usage.usedInodes, 2);
    setProjectLimits({ fd }, 4002, { bytes: 0, inodes: 0 });
    assertEquals(fill(`${path}/g`, 6).errno, 0);
  });
});

Deno.test("a limit of inodes stops new files", () => {
  withProject(4003, (path, fd) => {
    setProjectLimits({ fd }, 4003, { bytes: 0, inodes: 5 });
    const made = Array.from({ length: 10 }, (_, i) => {
      const file = tryOpenat(AT_FDCWD, `${path}/f${i}`, O_WRONLY | O_CREAT, 0o600);
      return file >= 0 ? withFd(file, () => 0) : file;
    });
    assertEquals(made.filter((result) => result === 0).length, 4); // and the directory itself
    assert([-EDQUOT, -28].includes(made.at(-1)!));
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
