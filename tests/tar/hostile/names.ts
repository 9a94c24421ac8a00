/** Every odd name, in each form in which a tar can carry one, for each type of entry. */
import { bytes, file, type TarEntry } from "../support/tar_builder.ts";
import { hostile, type HostileTar, type Part, shown } from "./hostile_tar.ts";
import { CLIMBING, gnuLong, ODD_NAMES, paxOf, WITH_NUL } from "./values.ts";

/** What entries there are, beside directories and files of odd letters. */
export const TYPES: Readonly<Record<string, Partial<TarEntry>>> = {
  file: { type: "0", data: "x" },
  directory: { type: "5" },
  "symbolic link": { type: "2", link: "pfile" },
  "hard link": { type: "1", link: "pdir/x" },
  "character device": { type: "3", major: 1, minor: 3 },
  "block device": { type: "4", major: 7, minor: 0 },
  fifo: { type: "6" },
  contiguous: { type: "7", data: "x" },
  unknown: { type: "V", data: "x" },
};

interface Carrier {
  /** Whether the name's length is given, so that a NUL in it is part of it. */
  readonly counted: boolean;
  readonly carry: (name: string, entry: Partial<TarEntry>) => readonly Part[];
}

/** The forms of tars that names come in. */
const CARRIERS: Readonly<Record<string, Carrier>> = {
  ustar: { counted: false, carry: (name, entry) => [{ ...entry, name: bytes(name) }] },
  "ustar prefix": {
    counted: false,
    carry: (name, entry) => {
      const slash = name.lastIndexOf("/");
      return [{
        ...entry,
        prefix: bytes(name.slice(0, slash)),
        name: bytes(name.slice(slash + 1)),
      }];
    },
  },
  v7: { counted: false, carry: (name, entry) => [{ ...entry, name: bytes(name), magic: "v7" }] },
  "gnu prefix": {
    counted: false,
    carry: (name, entry) => [{ ...entry, prefix: bytes(name), name: "last", magic: "gnu" }],
  },
  "gnu long": {
    counted: false,
    carry: (name, entry) => [gnuLong(name), { ...entry, name: "short", magic: "gnu" }],
  },
  pax: {
    counted: true,
    carry: (name, entry) => [paxOf([["path", bytes(name)]]), { ...entry, name: "short" }],
  },
  "sparse name": {
    counted: true,
    carry: (
      name,
      entry,
    ) => [paxOf([["GNU.sparse.name", bytes(name)]]), { ...entry, name: "short" }],
  },
  "sparse 1.0": {
    counted: true,
    carry: (name, entry) => [
      paxOf([
        ["GNU.sparse.major", "1"],
        ["GNU.sparse.minor", "0"],
        ["GNU.sparse.name", bytes(name)],
        ["GNU.sparse.realsize", "0"],
      ]),
      { ...entry, name: "short", ...entry.type === "0" ? { data: "0\n".padEnd(512, "\0") } : {} },
    ],
  },
  "old sparse": {
    counted: true,
    carry: (name, entry) => [
      paxOf([["path", bytes(name)]]),
      {
        ...entry,
        type: entry.type === "0" ? "S" : entry.type,
        name: "short",
        magic: "gnu",
        data: "",
      },
    ],
  },
};

export function* oddNames(): Generator<HostileTar> {
  for (const [form, { counted, carry }] of Object.entries(CARRIERS)) {
    for (const [type, entry] of Object.entries(TYPES)) {
      // Every name for files; for the others, in two forms.
      const all = type === "file" || form === "pax" || form === "sparse name";
      if (!all) continue;
      const make = (kind: string, name: string, expected?: "refused") =>
        hostile(
          kind,
          `${type} ${shown(name)} as ${form}`,
          [...carry(name, entry as TarEntry), file("after", "x")],
          expected,
        );
      for (const name of WITH_NUL) {
        yield make("names with NUL", name, counted ? "refused" : undefined);
      }
      for (const name of CLIMBING) {
        const whole = form !== "gnu prefix";
        yield make("names that climb", name, whole ? "refused" : undefined);
      }
      for (const name of ODD_NAMES) yield make("odd names", name);
    }
  }
}
