/** Every odd map of a sparse file, in each of GNU tar's four ways to write one. */
import { bytes, concat, file } from "../support/tar_builder.ts";
import { hostile, type HostileTar, type Part } from "./hostile_tar.ts";
import { base256, paxOf } from "./values.ts";

interface Map {
  readonly size: bigint;
  /** Offsets and lengths, in turn. */
  readonly parts: readonly bigint[];
  /** How many bytes of data there are; as many as the parts say where left out. */
  readonly data?: number;
}

const K = 1024n;
const MAPS: Readonly<Record<string, Map>> = {
  "a hole": { size: 10n * K, parts: [K, 5n] },
  "nothing but a hole": { size: 1n << 40n, parts: [] },
  "a negative length": { size: -2000n, parts: [] },
  "a negative length of the file and a part": { size: -1n, parts: [0n, 5n] },
  "a file of 2^52": { size: 1n << 52n, parts: [] },
  "an offset of 2^50": { size: 1n << 52n, parts: [1n << 50n, 5n] },
  "an offset of 2^53": { size: (1n << 53n) - 1n, parts: [1n << 53n, 5n] },
  "the longest file": { size: (1n << 53n) - 1n, parts: [] },
  "a longer one": { size: 1n << 62n, parts: [] },
  "a negative offset": { size: K, parts: [-5n, 5n] },
  "a negative part": { size: K, parts: [5n, -5n], data: 0 },
  "parts that overlap": { size: K, parts: [0n, 5n, 4n, 5n] },
  "parts that descend": { size: K, parts: [100n, 5n, 0n, 5n] },
  "a part beyond the end": { size: 3n, parts: [0n, 5n] },
  "a part that wraps around": { size: K, parts: [5n, (1n << 53n) - 1n], data: 5 },
  "too much data": { size: K, parts: [0n, 5n], data: 500 },
  "too little data": { size: K, parts: [0n, 600n], data: 5 },
  "no data": { size: K, parts: [0n, 5n], data: 0 },
  "empty parts": { size: K, parts: Array.from({ length: 40 }, (_, i) => i % 2 === 0 ? 7n : 0n) },
  "many parts": {
    size: 100n * K,
    parts: Array.from({ length: 200 }, (_, i) => i % 2 === 0 ? BigInt(i) * 100n : 1n),
  },
};

const dataOf = ({ parts, data }: Map) =>
  "x".repeat(
    data ?? Number(parts.filter((_, i) => i % 2 === 1).reduce((sum, length) => sum + length, 0n)),
  );

function pairs(parts: readonly bigint[], count: number): Uint8Array {
  const field = new Uint8Array(count * 24);
  for (const [i, part] of parts.slice(0, 2 * count).entries()) field.set(base256(part, 12), i * 12);
  return field;
}

/** In the header, and 21 parts in each block after it. */
function oldGnu(map: Map): Part[] {
  const blocks: Uint8Array[] = [];
  for (let at = 8; at < map.parts.length; at += 42) {
    const more = at + 42 < map.parts.length ? 1 : 0;
    blocks.push(concat([pairs(map.parts.slice(at), 21), Uint8Array.of(more), new Uint8Array(7)]));
  }
  const extended = Uint8Array.of(blocks.length > 0 ? 1 : 0);
  const data = bytes(dataOf(map));
  const header = {
    name: "s",
    type: "S",
    magic: "gnu",
    size: data.length,
    patches: [
      [386, pairs(map.parts, 4)],
      [482, extended],
      [483, base256(map.size, 12)],
    ],
  } as const;
  const padded = new Uint8Array(Math.ceil(data.length / 512) * 512);
  padded.set(data);
  return [header, ...blocks, padded];
}

const WAYS: Readonly<Record<string, (map: Map) => Part[]>> = {
  "old GNU": oldGnu,
  "0.0": (map) => [
    paxOf([
      ["GNU.sparse.size", `${map.size}`],
      ["GNU.sparse.numblocks", `${map.parts.length / 2}`],
      ...map.parts.map((part, i) =>
        [i % 2 === 0 ? "GNU.sparse.offset" : "GNU.sparse.numbytes", `${part}`] as const
      ),
    ]),
    file("s", dataOf(map)),
  ],
  "0.1": (map) => [
    paxOf([
      ["GNU.sparse.size", `${map.size}`],
      ["GNU.sparse.name", "s"],
      ["GNU.sparse.map", map.parts.join(",")],
    ]),
    file("GNUSparseFile.0/s", dataOf(map)),
  ],
  "1.0": (map) => {
    const text = [BigInt(map.parts.length / 2), ...map.parts].join("\n") + "\n";
    return [
      paxOf([
        ["GNU.sparse.major", "1"],
        ["GNU.sparse.minor", "0"],
        ["GNU.sparse.name", "s"],
        ["GNU.sparse.realsize", `${map.size}`],
      ]),
      file(
        "GNUSparseFile.0/s",
        text.padEnd(Math.ceil(text.length / 512) * 512, "\0") + dataOf(map),
      ),
    ];
  },
};

/** Maps as text that is none. */
const TEXTS = [
  "",
  "\0",
  "\n",
  "1",
  "1\n",
  "-1\n",
  "1\n0\n",
  "x\n",
  "1\n0\n5\0",
  "9".repeat(30),
  "1\r\n0\r\n5\r\n",
];

export function* oddSparseFiles(): Generator<HostileTar> {
  for (const [what, map] of Object.entries(MAPS)) {
    const negative = map.size < 0n;
    for (const [way, make] of Object.entries(WAYS)) {
      yield hostile(
        "sparse files",
        `${what} as ${way}`,
        [...make(map), file("after", "x")],
        negative ? "refused" : undefined,
      );
    }
  }
  for (const text of TEXTS) {
    yield hostile("sparse files", `the map ${JSON.stringify(text)} as 1.0`, [
      paxOf([["GNU.sparse.major", "1"], ["GNU.sparse.realsize", "10"]]),
      file("s", text.padEnd(1024, "\0")),
    ]);
    yield hostile("sparse files", `the map ${JSON.stringify(text)} as 0.1`, [
      paxOf([["GNU.sparse.size", "10"], ["GNU.sparse.map", text]]),
      file("s", "xxxxx"),
    ]);
  }
  for (const type of ["1", "2", "3", "5", "6", "V"]) {
    yield hostile("sparse files", `a map before type ${type}`, [
      paxOf([["GNU.sparse.major", "1"], ["GNU.sparse.realsize", "10"]]),
      { name: "s", type, link: "pfile" },
    ]);
  }
}
