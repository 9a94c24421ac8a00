/** The btrfs calls of `ffi/` on a live file system, held to what btrfs-progs says. */
// @runs on btrfs
import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  isRescanning,
  limitedQgroups,
  qgroupUsage,
  quotaStatus,
  startRescan,
  tryLimitReferenced,
  tryRemoveQgroup,
} from "../../ffi/btrfs_quota.ts";
import { inodeNames, nestedName, tryOpenInSubvolume } from "../../ffi/btrfs_search.ts";
import { changedSince, hasSameExtents } from "../../ffi/btrfs_changes.ts";
import {
  createSnapshot,
  createSubvolume,
  isReadOnly,
  nestedSubvolumes,
  setReadOnly,
  subvolumeInfo,
  tryDestroySubvolume,
} from "../../ffi/btrfs_subvolume.ts";
import { commit, features, spaceUsage, volumeInfo } from "../../ffi/btrfs_volume.ts";
import { entryName } from "../../ffi/entry_name.ts";
import { EBUSY, ENOENT, ENOTCONN, ENOTEMPTY, ESTALE, SyscallError } from "../../ffi/errno.ts";
import {
  O_DIRECTORY,
  O_RDONLY,
  O_WRONLY,
  open,
  openat,
  withFd,
  writeAll,
} from "../../ffi/files.ts";
import { fstat } from "../../ffi/stat.ts";
import { must, needs, tempDir } from "../support/cases.ts";
import { lacking } from "../drivers/btrfs/support.ts";

function ffiCase(name: string, body: (directory: number, path: string) => void): void {
  needs(lacking, `btrfs calls: ${name}`, () => {
    using dir = tempDir();
    withFd(open(dir.path, O_RDONLY | O_DIRECTORY), (fd) => body(fd, dir.path));
  });
}

/** Runs `use` on the directory at a path below an open one. */
const inside = <T>(directory: number, path: string, use: (fd: number) => T): T => {
  const [name, ...rest] = path.split("/");
  const go = (fd: number) => rest.length === 0 ? use(fd) : inside(fd, rest.join("/"), use);
  return withFd(openat(directory, entryName(name), O_RDONLY | O_DIRECTORY), go);
};

ffiCase("subvolumes and snapshots", (directory, path) => {
  createSubvolume(directory, entryName("base é"));
  Deno.writeTextFileSync(`${path}/base é/file`, "written, not synced");
  const base = inside(directory, "base é", (source) => {
    createSnapshot(directory, entryName("copy"), source);
    createSnapshot(directory, entryName("frozen"), source, { readOnly: true });
    return subvolumeInfo(source);
  });
  assertEquals(base.parentUuid, "");
  assertEquals(Deno.readTextFileSync(`${path}/frozen/file`), "written, not synced");
  const shown = must("btrfs", "subvolume", "show", `${path}/copy`);
  inside(directory, "copy", (fd) => {
    const info = subvolumeInfo(fd);
    assert(shown.includes(info.uuid.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-")));
    assertEquals(info.parentUuid, base.uuid);
    assertEquals([info.readOnly, isReadOnly(fd)], [false, false]);
    const before = info.changed;
    Deno.writeTextFileSync(`${path}/copy/more`, "");
    assert(before <= info.created && subvolumeInfo(fd).changed > info.created);
  });
  inside(directory, "frozen", (fd) => {
    assert(isReadOnly(fd));
    assertThrows(() => Deno.removeSync(`${path}/frozen/file`));
    setReadOnly(fd, false);
    Deno.removeSync(`${path}/frozen/file`);
    setReadOnly(fd, true);
    assert(subvolumeInfo(fd).readOnly);
  });
  const error = assertThrows(() => createSubvolume(directory, entryName("copy")), SyscallError);
  assertEquals(error.code, "EEXIST");
  assertThrows(() => createSubvolume(directory, entryName("x".repeat(256))), RangeError);
  for (const name of ["base é", "copy", "frozen"]) {
    assertEquals(tryDestroySubvolume(directory, entryName(name)), 0);
  }
  assertEquals(tryDestroySubvolume(directory, entryName("copy")), -ENOENT);
  assertEquals([...Deno.readDirSync(path)], []);
});

ffiCase("nested subvolumes, by pages", (directory, path) => {
  createSubvolume(directory, entryName("outer"));
  const expected = new Map<bigint, string>();
  inside(directory, "outer", (outer) => {
    Deno.mkdirSync(`${path}/outer/some/where`, { recursive: true });
    inside(outer, "some/where", (where) => {
      for (let i = 0; i < 600; i++) createSubvolume(where, entryName(`nested ${i}`));
    });
    for (let i = 0; i < 600; i++) {
      inside(outer, `some/where/nested ${i}`, (fd) => {
        expected.set(subvolumeInfo(fd).id, `nested ${i}`);
      });
    }
    const { id: outerId } = subvolumeInfo(outer);
    const nested = nestedSubvolumes(outer);
    assertEquals(nested.map(({ id }) => id), [...expected.keys()]);
    for (const { id, directory } of nested) {
      assertEquals(nestedName(outer, id, outerId), expected.get(id));
      const [place] = inodeNames(outer, directory);
      assertEquals(place.name, "where");
      withFd(tryOpenInSubvolume(outer, id), (fd) => assertEquals(subvolumeInfo(fd).id, id));
    }
    const where = nested[0].directory;
    withFd(tryOpenInSubvolume(outer, outerId, where), (fd) => {
      assertEquals(fstat(fd).inode, where);
      assertEquals(tryDestroySubvolume(directory, entryName("outer")), -ENOTEMPTY);
      for (const name of expected.values()) {
        assertEquals(tryDestroySubvolume(fd, entryName(name)), 0);
      }
    });
    assertEquals(nestedSubvolumes(outer), []);
    assertEquals(tryOpenInSubvolume(outer, nested[0].id), -ESTALE);
  });
  assertEquals(tryDestroySubvolume(directory, entryName("outer")), 0);
});

ffiCase("all names of an inode, more than an item holds", (directory, path) => {
  createSubvolume(directory, entryName("links"));
  inside(directory, "links", (fd) => {
    const names = Array.from({ length: 700 }, (_, i) => `${"n".repeat(100)}-${i}`);
    Deno.mkdirSync(`${path}/links/below`);
    Deno.writeTextFileSync(`${path}/links/${names[0]}`, "");
    for (const name of names.slice(1)) {
      Deno.linkSync(`${path}/links/${names[0]}`, `${path}/links/below/${name}`);
    }
    const { ino } = Deno.statSync(`${path}/links/${names[0]}`);
    const below = BigInt(Deno.statSync(`${path}/links/below`).ino!);
    const found = Array.from(
      inodeNames(fd, BigInt(ino!)),
      ({ directory, name }) => directory === below ? `below/${name}` : name,
    );
    assertEquals(found.sort(), names.map((name, i) => i === 0 ? name : `below/${name}`).sort());
    assertEquals([...inodeNames(fd, 999_999n)], []);
  });
  assertEquals(tryDestroySubvolume(directory, entryName("links")), 0);
});

ffiCase("inodes and names made or changed after a transaction, among many", (directory, path) => {
  createSubvolume(directory, entryName("tree"));
  for (let i = 0; i < 3000; i++) Deno.writeTextFileSync(`${path}/tree/${i}`, `${i}`);
  Deno.linkSync(`${path}/tree/7`, `${path}/tree/seven`);
  inside(directory, "tree", (fd) => {
    createSnapshot(directory, entryName("copy"), fd);
    const { created } = inside(directory, "copy", subvolumeInfo);
    const found = () =>
      changedSince(fd, created).map((found) => {
        if (found.kind === "name") return `+${found.name}`;
        const names = found.names.map(({ name }) => name).sort().join();
        return `${found.isNew ? "new" : found.isDirectory ? "directory" : "file"} ${names}`;
      }).toArray();
    assertEquals(found(), []);
    Deno.chmodSync(`${path}/tree/7`, 0o600);
    Deno.writeTextFileSync(`${path}/tree/new`, "");
    Deno.renameSync(`${path}/tree/8`, `${path}/tree/eight`);
    Deno.removeSync(`${path}/tree/9`);
    commit(fd);
    assertEquals(found(), ["directory ..", "+new", "+eight", "file 7,seven", "file eight", "new "]);
    assert(changedSince(fd, 1n).toArray().length > 6000);
  });
  for (const name of ["tree", "copy"]) {
    assertEquals(tryDestroySubvolume(directory, entryName(name)), 0);
  }
});

ffiCase("a file's extents in two subvolumes", (directory, path) => {
  createSubvolume(directory, entryName("tree"));
  const files = ["inline", "large", "empty"].map((name) => `${path}/tree/${name}`);
  for (const [i, size] of [10, 1 << 20, 0].entries()) {
    Deno.writeFileSync(files[i], new Uint8Array(size).fill(1));
  }
  const inodes = files.map((file) => BigInt(Deno.statSync(file).ino!));
  inside(directory, "tree", (fd) => {
    createSnapshot(directory, entryName("copy"), fd);
    inside(directory, "copy", (copy) => {
      const same = () => inodes.map((inode) => hasSameExtents(fd, copy, inode));
      assertEquals(same(), [true, true, true]);
      for (const file of files) Deno.chmodSync(file, 0o600);
      commit(fd);
      assertEquals(same(), [true, true, true]);
      for (const file of files) {
        withFd(open(file, O_WRONLY), (fd) => writeAll(fd, Uint8Array.of(2)));
      }
      commit(fd);
      assertEquals(same(), [false, false, false]);
      for (const file of files) Deno.truncateSync(file, 0);
      commit(fd);
      assertEquals(same(), [false, false, true]);
    });
  });
  for (const name of ["tree", "copy"]) {
    assertEquals(tryDestroySubvolume(directory, entryName(name)), 0);
  }
});

ffiCase("quotas that are off", (directory) => {
  if (quotaStatus(directory).mode !== "off") return; // Somebody's on this file system.
  createSubvolume(directory, entryName("plain"));
  inside(directory, "plain", (fd) => {
    assertEquals(tryLimitReferenced(fd, 1 << 20), -ENOTCONN);
    assertEquals(qgroupUsage(fd, subvolumeInfo(fd).id), undefined);
    assertEquals(tryRemoveQgroup(fd, subvolumeInfo(fd).id), -ENOTCONN);
    assertEquals(limitedQgroups(fd), []);
  });
  tryDestroySubvolume(directory, entryName("plain"));
});

ffiCase("quotas that are on", (directory, path) => {
  must("btrfs", "quota", "enable", path);
  try {
    createSubvolume(directory, entryName("limited"));
    inside(directory, "limited", (fd) => {
      const { id } = subvolumeInfo(fd);
      assertEquals(quotaStatus(fd).mode, "qgroup");
      assertEquals(tryLimitReferenced(fd, 3 << 20), 0);
      Deno.writeFileSync(`${path}/limited/data`, new Uint8Array(1 << 20).fill(1));
      commit(fd);
      const usage = qgroupUsage(fd, id)!;
      assertEquals(usage.maxReferenced, 3 << 20);
      assert(
        usage.referenced >= 1 << 20 && usage.referenced < 1.2 * 2 ** 20,
        `${usage.referenced}`,
      );
      const shown = must("btrfs", "qgroup", "show", "-r", "--raw", path);
      assert(new RegExp(`^0/${id}\\s+${usage.referenced}\\s+\\d+\\s+${3 << 20}`, "m").test(shown));
      assertEquals(limitedQgroups(fd), [id]);
      assertEquals(tryRemoveQgroup(fd, id), -EBUSY);
      startRescan(fd);
      startRescan(fd); // Again is no error.
      must("btrfs", "quota", "rescan", "-w", path);
      assertEquals([isRescanning(fd), quotaStatus(fd).inconsistent], [false, false]);
    });
  } finally {
    must("btrfs", "quota", "disable", path);
    tryDestroySubvolume(directory, entryName("limited"));
  }
});

ffiCase("the volume", (directory, path) => {
  const { uuid, devices, generation } = volumeInfo(directory);
  const expected = must("findmnt", "-no", "UUID", "-T", path).trim();
  assertEquals(uuid, expected.replaceAll("-", ""));
  assertEquals(devices, 1);
  assert(generation > 0);
  const sysfs = [...Deno.readDirSync(`/sys/fs/btrfs/${expected}/features`)].map(({ name }) => name);
  for (const name of features(directory)) {
    // Not in sysfs: flags that no user can set.
    if (/_valid$|^mixed_backref$|^big_metadata$/.test(name)) continue;
    assert(sysfs.includes(name), `${name} in ${sysfs}`);
  }
  Deno.writeFileSync(`${path}/data`, new Uint8Array(4 << 20).fill(1));
  commit(directory);
  const { data, metadata } = spaceUsage(directory);
  // Not compared with the usage before: the kernel frees removed subvolumes of other cases behind.
  assert(data.used >= 4 << 20 && data.used <= data.total);
  assert(metadata.used > 0 && metadata.used < metadata.total);
});
