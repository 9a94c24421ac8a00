/** Every odd number: in the fields of headers and in pax records, device numbers, sizes, times, modes, owners. */
import { hostile, type HostileTar, shown } from "./hostile_tar.ts";
import { bytes, file, type TarEntry } from "../support/tar_builder.ts";
import { base256, ODD_DECIMALS, oddFields, paxOf } from "./values.ts";

/** Fields of a header: offset and width. */
const FIELDS: Readonly<Record<string, readonly [number, number]>> = {
  mode: [100, 8],
  uid: [108, 8],
  gid: [116, 8],
  size: [124, 12],
  mtime: [136, 12],
  major: [329, 8],
  minor: [337, 8],
};

const ENTRIES: readonly TarEntry[] = [
  { name: "n", type: "0", data: "xxxxx" },
  { name: "n", type: "5" },
  { name: "n", type: "3", major: 1, minor: 3 },
  { name: "n", type: "2", link: "pfile" },
];

const PAX_KEYS = [
  "size",
  "uid",
  "gid",
  "mtime",
  "atime",
  "ctime",
  "GNU.sparse.size",
  "GNU.sparse.realsize",
  "GNU.sparse.major",
  "GNU.sparse.minor",
  "GNU.sparse.numblocks",
  "GNU.sparse.offset",
  "GNU.sparse.numbytes",
  "GNU.sparse.map",
  "SCHILY.devmajor",
];

const DEVICES: readonly (readonly [bigint, bigint])[] = [
  [0n, 0n],
  [0n, 1n],
  [1n, 3n],
  [8n, 0n],
  [4095n, 1048575n],
  [4096n, 0n],
  [0n, 1048576n],
  [-1n, -1n],
  [-1n, 0n],
  [1n << 31n, 0n],
  [0n, 1n << 32n],
];

export function* oddNumbers(): Generator<HostileTar> {
  for (const [what, [at, width]] of Object.entries(FIELDS)) {
    for (const value of oddFields(width)) {
      for (const entry of ENTRIES) {
        const field = new Uint8Array(width);
        field.set(bytes(value).subarray(0, width));
        yield hostile("numbers in headers", `${what} ${shown(field)} of type ${entry.type}`, [
          { ...entry, patches: [[at, field]] },
          file("after", "x"),
        ]);
      }
    }
  }
  for (const key of PAX_KEYS) {
    for (const value of ODD_DECIMALS) {
      yield hostile("numbers in pax", `${key} ${shown(value)}`, [
        paxOf([[key, value]]),
        file("n", "xxxxx"),
        file("after", "x"),
      ]);
    }
  }
  for (const [major, minor] of DEVICES) {
    for (const type of ["3", "4"]) {
      yield hostile("device numbers", `${type} ${major}:${minor}`, [
        {
          name: "device",
          type,
          mode: 0o666,
          patches: [[329, base256(major, 8)], [337, base256(minor, 8)]],
        },
        { name: "again", type: "1", link: "device" },
      ]);
    }
  }
}
