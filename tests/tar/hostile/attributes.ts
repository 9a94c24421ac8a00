/** Every odd extended attribute: malformed capabilities and access lists, overlay's own, odd keys and values. */
import { bytes, file } from "../support/tar_builder.ts";
import { hostile, type HostileTar, shown } from "./hostile_tar.ts";
import { TYPES } from "./names.ts";
import { paxOf } from "./values.ts";

const hex = (text: string): Uint8Array => Uint8Array.fromHex(text);

/** `struct vfs_cap_data` of `linux/capability.h`: version and flags, then sets. */
const CAPABILITIES = [
  "",
  "00",
  "01000002",
  "0100000200040000000000000000000000000000",
  "010000020004000000000000000000000000",
  "0100000100040000",
  "010000010004000000000000",
  "0100000300040000000000000000000000000000a0860100",
  "0100000300040000000000000000000000000000ffffffff",
  "ffffffff00040000000000000000000000000000",
  "000000000004000000000000",
  "01000002" + "ff".repeat(16),
  "01000002" + "00".repeat(1000),
];

/** `struct posix_acl_xattr_entry` of `linux/posix_acl_xattr.h`: version, then tag, permissions, id. */
const USER_OBJ = "01000600ffffffff", GROUP_OBJ = "04000400ffffffff", OTHER = "20000400ffffffff";
const MASK = "10000700ffffffff", USER = "02000600e8030000";
const LISTS = [
  "",
  "02",
  "02000000",
  "01000000" + USER_OBJ + GROUP_OBJ + OTHER,
  "ffffffff" + USER_OBJ,
  "02000000" + USER_OBJ + GROUP_OBJ + OTHER,
  "02000000" + USER_OBJ + USER + GROUP_OBJ + MASK + OTHER,
  "02000000" + USER_OBJ + USER + GROUP_OBJ + OTHER,
  "02000000" + OTHER + GROUP_OBJ + USER_OBJ,
  "02000000" + USER_OBJ,
  "02000000" + USER_OBJ + USER_OBJ + GROUP_OBJ + OTHER,
  "02000000" + USER_OBJ + USER + USER + GROUP_OBJ + MASK + OTHER,
  "02000000" + USER_OBJ + GROUP_OBJ + OTHER + "ff",
  "02000000" + "ffffffffffffffff",
  "02000000" + "0200ffff00000000" + USER_OBJ,
  "02000000" + USER_OBJ.repeat(600),
];

const OTHERS: readonly (readonly [key: string, value: string])[] = [
  ["user.", "x"],
  ["user.a", ""],
  ["user.a", "x".repeat(60_000)],
  ["user.a", "x".repeat(65_536)],
  ["user.a", "x".repeat(65_537)],
  ["user.a\nb", "x"],
  ["user.\xff", "x"],
  ["user.a%3Db", "x"],
  ["user.a\0b", "x"],
  [`user.${"n".repeat(250)}`, "x"],
  [`user.${"n".repeat(251)}`, "x"],
  [`user.${"n".repeat(70_000)}`, "x"],
  ["user.overlay.opaque", "y"],
  ["trusted.overlay.opaque", "y"],
  ["trusted.overlay.redirect", "/other"],
  ["trusted.overlay.metacopy", ""],
  ["trusted.overlay.origin", "x"],
  ["trusted.overlay.whiteout", "y"],
  ["trusted.", "x"],
  ["trusted.x", "x"],
  ["security.selinux", "system_u:object_r:etc_t:s0"],
  ["security.ima", "x"],
  ["security.evm", "x"],
  ["security.x", "x"],
  ["security.", "x"],
  ["system.x", "x"],
  ["system.nfs4_acl", "x"],
  ["btrfs.compression", "zlib"],
  ["btrfs.compression", "none of these"],
  ["afs.x", "x"],
  ["x", "x"],
  [".", "x"],
  ["", "x"],
];

export function* oddAttributes(): Generator<HostileTar> {
  const lists: [string, string | Uint8Array][] = [
    ...CAPABILITIES.map((value) => ["security.capability", hex(value)] as [string, Uint8Array]),
    ...["access", "default"].flatMap((which) =>
      LISTS.map((value) => [`system.posix_acl_${which}`, hex(value)] as [string, Uint8Array])
    ),
    ...OTHERS.map(([key, value]) => [key, bytes(value)] as [string, Uint8Array]),
  ];
  for (const [key, value] of lists) {
    for (const type of ["file", "directory", "symbolic link", "fifo", "hard link"]) {
      yield hostile(
        "attributes",
        `${shown(key)} ${shown(value)} of a ${type}`,
        [
          paxOf([[`SCHILY.xattr.${key}`, value]]),
          { name: "new", ...TYPES[type] },
          file("new/x", "x"),
        ].slice(0, type === "directory" ? 3 : 2),
      );
    }
    yield hostile("attributes", `${shown(key)} ${shown(value)} of the root`, [
      paxOf([[`SCHILY.xattr.${key}`, value]]),
      { name: "./", type: "5", mode: 0o777 },
      file("x", "x"),
    ]);
  }
  for (const count of [100, 1000]) {
    yield hostile("attributes", `${count} of them`, [
      paxOf(Array.from({ length: count }, (_, i) => [`SCHILY.xattr.user.a${i}`, "x".repeat(100)])),
      file("new", "x"),
    ]);
  }
}
