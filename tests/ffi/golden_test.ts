/**
 * Every layout and every constant of `ffi/` against what the C compiler says of the headers installed here.
 *
 * Nothing is listed twice: the layouts and constants are found in the modules themselves, so one that is
 * added is checked, or fails as unknown. Where a header lacks a definition, the expected value is a literal
 * below that names its source.
 */
import { assert, assertEquals } from "@std/assert";
import { errnoEntries } from "../../ffi/errno.ts";
import { FILE_SYSTEM_NAMES } from "../../ffi/statfs.ts";
import { makedev } from "../../ffi/names.ts";
import type { Layout } from "../../ffi/struct.ts";

const FFI = new URL("../../ffi/", import.meta.url);

/** Headers that can be included together: glibc and the kernel define some things twice. */
const WORLDS: Record<string, readonly string[]> = {
  glibc: [
    "dirent.h",
    "errno.h",
    "fcntl.h",
    "limits.h",
    "sched.h",
    "signal.h",
    "stddef.h",
    "stdio.h",
    "sys/file.h",
    "sys/ioctl.h",
    "sys/mman.h",
    "sys/mount.h",
    "sys/quota.h",
    "sys/socket.h",
    "sys/stat.h",
    "sys/statfs.h",
    "sys/syscall.h",
    "sys/sysmacros.h",

    "sys/xattr.h",
    "time.h",
    "unistd.h",
  ],
  kernel: [
    "linux/btrfs.h",
    "linux/btrfs_tree.h",
    "linux/dqblk_xfs.h",
    "linux/errno.h",
    "linux/fcntl.h",
    "linux/fs.h",
    "linux/limits.h",
    "linux/loop.h",
    "linux/magic.h",
    "linux/major.h",
    "linux/memfd.h",
    "linux/mount.h",
    "linux/openat2.h",
    "linux/poll.h",
    "linux/prctl.h",
    "linux/quota.h",
    "linux/resource.h",
    "linux/sched.h",
    "linux/securebits.h",
    "linux/stat.h",
    "linux/un.h",
    "linux/unistd.h",
    "linux/xattr.h",
    "stddef.h",
    "stdio.h",
  ],
  devmapper: ["libdevmapper.h", "linux/dm-ioctl.h"],
  xfs: ["linux/types.h", "stddef.h", "stdio.h"],
};

/** Structures that Debian 12's headers lack, as the kernel's fs/xfs/libxfs/xfs_fs.h declares them. */
const DECLARATIONS: Record<string, string> = {
  xfs: `
    struct xfs_growfs_data { __u64 newblocks; __u32 imaxpct; };
    struct xfs_fsop_geom_v1 {
      __u32 blocksize, rtextsize, agblocks, agcount, logblocks, sectsize, inodesize, imaxpct;
      __u64 datablocks, rtblocks, rtextents, logstart;
      unsigned char uuid[16];
      __u32 sunit, swidth;
      __s32 version;
      __u32 flags, logsectsize, rtsectsize, dirblocksize;
    };`,
};

/** The world of a structure; `kernel` where it is not said. */
const STRUCTURE_WORLDS: Record<string, string> = {
  "struct dm_info": "devmapper",
  "struct dm_deps": "devmapper",
  "struct dm_names": "devmapper",
  "struct dm_versions": "devmapper",
  "struct xfs_growfs_data": "xfs",
  "struct xfs_fsop_geom_v1": "xfs",
};

/** What has another name in C, or is an expression of it. */
const C_NAMES: Record<string, string> = {
  EXT_MAGIC: "EXT4_SUPER_MAGIC",
  XFS_MAGIC: "XFS_SUPER_MAGIC",
  BTRFS_MAGIC: "BTRFS_SUPER_MAGIC",
  OVERLAY_MAGIC: "OVERLAYFS_SUPER_MAGIC",
  NFS_MAGIC: "NFS_SUPER_MAGIC",
  ECRYPTFS_MAGIC: "ECRYPTFS_SUPER_MAGIC",
  XATTR_MAX: "XATTR_SIZE_MAX",
  RECLEN: "offsetof(struct dirent64, d_reclen)",
  TYPE: "offsetof(struct dirent64, d_type)",
  NAME: "offsetof(struct dirent64, d_name)",
};

/** The header's name of each file system's magic number that no constant of ours carries. */
const MAGIC_NAMES: Record<string, string> = {
  ramfs: "RAMFS_MAGIC",
  squashfs: "SQUASHFS_MAGIC",
  erofs: "EROFS_SUPER_MAGIC_V1",
  f2fs: "F2FS_SUPER_MAGIC",
  fuse: "FUSE_SUPER_MAGIC",
  "9p": "V9FS_MAGIC",
  reiserfs: "REISERFS_SUPER_MAGIC",
  cramfs: "CRAMFS_MAGIC",
  jffs2: "JFFS2_SUPER_MAGIC",
  isofs: "ISOFS_SUPER_MAGIC",
  vfat: "MSDOS_SUPER_MAGIC",
  exfat: "EXFAT_SUPER_MAGIC",
  cifs: "CIFS_SUPER_MAGIC",
  smb2: "SMB2_SUPER_MAGIC",
  ceph: "CEPH_SUPER_MAGIC",
  proc: "PROC_SUPER_MAGIC",
  sysfs: "SYSFS_MAGIC",
};

/** Enumerators, which `#ifdef` does not see, and the world they are of. */
const ENUMERATORS: readonly (readonly [RegExp, world: string])[] = [
  [/^(FSCONFIG_(?!STRING_MAX)|LO_FLAGS_|BTRFS_FILE_EXTENT_)/, "kernel"],
  [/^(DM_DEVICE_|DM_ADD_NODE_)/, "devmapper"],
];

/** What Debian 12's headers lack: the value, and where it stands. */
const LITERALS: Record<string, number | bigint> = {
  CLEAR_VALUE: 0xffff_ffff_ffff_ffffn, // kernel, fs/btrfs/qgroup.c: (u64)-1
  ST_RDONLY: 1, // kernel, include/linux/statfs.h
  SYS_listxattrat: 465, // kernel 6.13, include/uapi/asm-generic/unistd.h
  AUFS_MAGIC: 0x61756673, // aufs-standalone, include/uapi/linux/aufs_type.h: AUFS_SUPER_MAGIC
  ZFS_MAGIC: 0x2fc12fc1, // OpenZFS, include/sys/fs/zfs.h: ZFS_SUPER_MAGIC
  LOOP_CTRL_MINOR: 237, // kernel, include/linux/miscdevice.h
  MISC_MAJOR: 10, // kernel, Documentation/admin-guide/devices.txt
  MOUNT_DATA_MAX: 4096 - 1, // kernel, fs/namespace.c: copy_mount_options, PAGE_SIZE - 1
  FSCONFIG_STRING_MAX: 256 - 1, // kernel, fs/fsopen.c: strndup_user(_value, 256)
  ID_MAP_MAX: 4096 - 1, // kernel, kernel/user_namespace.c: map_write, less than PAGE_SIZE
  FSOPEN_CLOEXEC: 1, // kernel, include/uapi/linux/mount.h
  FSMOUNT_CLOEXEC: 1, // the same
  UMOUNT_NOFOLLOW: 8, // kernel, include/linux/fs.h
  SECTOR_SIZE: 512, // kernel, include/linux/blk_types.h
  EXT4_IOC_RESIZE_FS: 0x40086610, // kernel, fs/ext4/ext4.h: _IOW('f', 16, __u64)
  XFS_IOC_FSGROWFSDATA: 0x4010586e, // kernel, fs/xfs/libxfs/xfs_fs.h: _IOW('X', 110, struct xfs_growfs_data)
  XFS_IOC_FSGEOMETRY_V1: 0x80705864, // the same: _IOR('X', 100, struct xfs_fsop_geom_v1)
  LOG_LEVEL_MASK: 7, // LVM2, lib/log/log.h: log_level()
  LOG_ERR: 3, // the same: _LOG_ERR
  BTRFS_QUOTA_CTL_ENABLE_SIMPLE_QUOTA: 4, // kernel, include/uapi/linux/btrfs.h
  BTRFS_QGROUP_STATUS_FLAG_SIMPLE_MODE: 8, // kernel, include/uapi/linux/btrfs_tree.h
  FILEID_BTRFS_WITHOUT_PARENT: 0x4d, // kernel, include/linux/exportfs.h
  MAXSYMLINKS: 40, // kernel, include/linux/namei.h; glibc's own, of sys/param.h, is another
  WINDOW_LOG_MAX: 100, // zstd.h, ZSTD_d_windowLogMax
  WINDOW_LOG: 101, // zstd.h, ZSTD_c_windowLog
  CHECKSUM_FLAG: 201, // zstd.h, ZSTD_c_checksumFlag
  NB_WORKERS: 400, // zstd.h, ZSTD_c_nbWorkers
  JOB_SIZE: 401, // zstd.h, ZSTD_c_jobSize
  END_CONTINUE: 0, // zstd.h, ZSTD_e_continue
  END_END: 2, // zstd.h, ZSTD_e_end
  STATE_SIZE: 87368, // igzip_lib.h 2.30 of libisal-dev, sizeof(struct inflate_state)
  ISAL_BLOCK_FINISH: 5, // igzip_lib.h
  ISAL_GZIP_NO_HDR: 2, // igzip_lib.h
  OK: 0, // igzip_lib.h, ISAL_DECOMP_OK
  BASIC_BLOCK: 512, // linux/dqblk_xfs.h, in words: "512 byte blocks (BBs)"
};

/** Structures that the kernel's own headers lack. */
const GLIBC_TYPES = new Set(["struct statfs64", "struct file_handle"]);

/** Numbers of our own choosing. */
const OURS = new Set([
  "ATTEMPTS",
  "DOT",
  "ESCAPE",
  "HEADROOM",
  "KNOWN_SUM",
  "LARGEST_PIPE",
  "LARGEST_WINDOW_LOG",
  "WINDOW",
  "JOB_BYTES",
  "LONGEST",
  "MOST_ARGUMENTS",
  "MOST_RESOLUTIONS",
  "SHORT_NAME",
  "USUAL_LIST_SIZE",
  "RESOLVE_INSIDE",
  "SLASH",
  "STACK",
  "TRIAL_INPUT",
  "TRIAL_OUTPUT",
]);

Deno.test("every constant of ffi/ has the value of its header", async () => {
  const ours = await constants();
  assert(ours.size > 150, `found ${ours.size} constants only`);
  const theirs = headerValues([...ours.keys()].map(cName));
  const wrong: string[] = [];
  for (const [name, value] of ours) {
    const expected = LITERALS[name] !== undefined
      ? new Set([BigInt(LITERALS[name])])
      : theirs.get(cName(name));
    if (!expected?.size) wrong.push(`${name}: no header here defines it and no literal does`);
    else if (expected.size > 1 || !expected.has(value)) {
      wrong.push(`${name} is ${value}, the headers say ${[...expected].join(", ")}`);
    }
  }
  assertEquals(wrong, []);
});

Deno.test("every layout of ffi/ has the sizes and offsets of its header", async () => {
  const found = (await exports()).flatMap(([, value]) => isLayout(value) ? [value] : []);
  assert(found.length >= 9, `found ${found.length} layouts only`);
  for (const { ctype, size, fields } of found) {
    const expressions = [`sizeof(${ctype})`];
    for (const [name, [type]] of Object.entries(fields)) {
      expressions.push(`offsetof(${ctype}, ${name})`);
      if (type !== "u8") expressions.push(`sizeof(((${ctype} *)0)->${name})`);
    }
    const world = GLIBC_TYPES.has(ctype) ? "glibc" : STRUCTURE_WORLDS[ctype] ?? "kernel";
    const values = compile(world, expressions.map((e) => print(e)).join("\n"));
    assertEquals(values.get(expressions[0]), BigInt(size), `size of ${ctype}`);
    for (const [name, [type, offset]] of Object.entries(fields)) {
      const where = `${ctype}.${name}`;
      assertEquals(values.get(`offsetof(${ctype}, ${name})`), BigInt(offset), where);
      if (type === "u8") continue; // may stand for an array
      const bits = Number(type.slice(1));
      assertEquals(values.get(`sizeof(((${ctype} *)0)->${name})`), BigInt(bits / 8), where);
    }
  }
});

Deno.test("every error's name has its number", () => {
  const ours = new Map(errnoEntries());
  const theirs = headerValues([...ours.keys()]);
  for (const [name, errno] of ours) {
    assertEquals(theirs.get(name), new Set([BigInt(errno)]), name);
  }
  // And none is missing: every name that the headers define is in the table, or an alias.
  const all = new TextDecoder().decode(preprocess("glibc"));
  for (const [, name] of all.matchAll(/^#define (E[A-Z0-9]+) \d+$/gm)) {
    assert(ours.has(name), `${name} is missing`);
  }
});

Deno.test("every file system's magic number is its header's", async () => {
  const theirs = headerValues(Object.values(MAGIC_NAMES));
  const checkedByName = new Set((await constants()).values());
  const literals: Record<string, number> = {
    hostfs: 0x00c0ffee, // kernel, fs/hostfs/hostfs_kern.c: HOSTFS_SUPER_MAGIC
    bcachefs: 0xca451a4e, // kernel, fs/bcachefs/bcachefs_format.h: BCACHEFS_STATFS_MAGIC
    jfs: 0x3153464a, // kernel, fs/jfs/jfs_superblock.h: JFS_SUPER_MAGIC
    vxfs: 0xa501fcf5, // kernel, fs/freevxfs/vxfs.h: VXFS_SUPER_MAGIC
    gpfs: 0x47504653, // IBM Storage Scale's gpfs.h: GPFS_SUPER_MAGIC
  };
  for (const [magic, name] of FILE_SYSTEM_NAMES) {
    if (checkedByName.has(BigInt(magic))) continue;
    const header = MAGIC_NAMES[name];
    const expected = header ? theirs.get(header) : new Set([BigInt(literals[name])]);
    assertEquals(expected, new Set([BigInt(magic)]), name);
  }
});

Deno.test("makedev packs as the C library does", () => {
  const pairs = [[0, 0], [8, 1], [7, 300], [259, 1_048_575], [0xffff_ffff, 0xffff_ffff]];
  const values = compile("glibc", pairs.map(([a, i]) => print(`makedev(${a}u, ${i}u)`)).join("\n"));
  for (const [a, i] of pairs) {
    const signed = values.get(`makedev(${a}u, ${i}u)`)!;
    assertEquals(makedev(a, i), BigInt.asUintN(64, signed));
  }
});

/** Everything that `ffi/`'s modules export. */
async function exports(): Promise<[string, unknown][]> {
  const all: [string, unknown][] = [];
  for (const { name } of Deno.readDirSync(FFI)) {
    if (!name.endsWith(".ts")) continue;
    all.push(...Object.entries(await import(new URL(name, FFI).href)));
  }
  return all;
}

/** Exported numbers, the members of exported tables of numbers, and private constants with literal values. */
async function constants(): Promise<Map<string, bigint>> {
  const found = new Map<string, bigint>();
  const add = (name: string, value: unknown) => {
    if (!/^[A-Z]/.test(name) || OURS.has(name)) return;
    if (typeof value === "number" || typeof value === "bigint") found.set(name, BigInt(value));
    else if (isTable(value)) {
      for (const [key, member] of Object.entries(value)) {
        add(key, member);
      }
    }
  };
  for (const { name } of Deno.readDirSync(FFI)) {
    const source = Deno.readTextFileSync(new URL(name, FFI));
    const literal = /(?:const|,) ([A-Z]\w*) = ((?:0[xo])?[\da-f][\da-f_]*)n?(?=[,;])/g;
    for (const [, constant, value] of source.matchAll(literal)) {
      add(constant, BigInt(value.replaceAll("_", "")));
    }
  }
  for (const [name, value] of await exports()) add(name, value);
  return found;
}

const cName = (name: string) => C_NAMES[name] ?? name;

const isLayout = (value: unknown): value is Layout =>
  typeof value === "object" && value !== null && "ctype" in value;

const isTable = (value: unknown): value is Record<string, number> =>
  typeof value === "object" && value !== null &&
  Object.getPrototypeOf(value) === Object.prototype &&
  Object.values(value).every((member) => typeof member === "number");

/** The values that the headers of each world give to names or expressions. */
function headerValues(names: string[]): Map<string, Set<bigint>> {
  const values = new Map<string, Set<bigint>>(names.map((name) => [name, new Set()]));
  for (const world of Object.keys(WORLDS)) {
    const lines = names.flatMap((name) => {
      const enumerator = ENUMERATORS.find(([pattern]) => pattern.test(name));
      if (enumerator !== undefined) return world === enumerator[1] ? [print(name)] : [];
      if (!/^\w+$/.test(name)) return world === expressionWorld(name) ? [print(name)] : [];
      return [`#ifdef ${name}`, print(name), "#endif"];
    });
    for (const [name, value] of compile(world, lines.join("\n"))) values.get(name)?.add(value);
  }
  return values;
}

const expressionWorld = (expression: string) =>
  expression.includes("struct dm_") ? "devmapper" : "glibc";

/** A C statement that prints an expression and its value, of whichever integer type. */
const print = (expression: string) =>
  `printf("%s\\t%lld\\n", ${JSON.stringify(expression)}, (long long)(${expression}));`;

/** Compiles and runs statements under a world's headers. */
function compile(world: string, statements: string): Map<string, bigint> {
  const directory = Deno.makeTempDirSync({ prefix: "veneer-golden-" });
  try {
    Deno.writeTextFileSync(
      `${directory}/golden.c`,
      `${includes(world)}\nint main(void) {\n${statements}\nreturn 0;\n}\n`,
    );
    run("gcc", "-Wall", "-Werror", "-o", `${directory}/golden`, `${directory}/golden.c`);
    const text = new TextDecoder().decode(run(`${directory}/golden`));
    return new Map(
      text.split("\n").slice(0, -1).map((line) => {
        const [name, value] = line.split("\t");
        return [name, BigInt(value)];
      }),
    );
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

const includes = (world: string) =>
  [
    "#define _GNU_SOURCE",
    ...WORLDS[world].map((header) => `#include <${header}>`),
    DECLARATIONS[world] ?? "",
  ].join("\n");

/** All macros that a world's headers define. */
function preprocess(world: string): Uint8Array {
  const file = Deno.makeTempFileSync({ suffix: ".c" });
  try {
    Deno.writeTextFileSync(file, includes(world) + "\n");
    return run("gcc", "-E", "-dM", file);
  } finally {
    Deno.removeSync(file);
  }
}

function run(command: string, ...args: string[]): Uint8Array {
  const { success, stdout, stderr } = new Deno.Command(command, { args }).outputSync();
  assert(success, `${command}: ${new TextDecoder().decode(stderr)}`);
  return stdout;
}
