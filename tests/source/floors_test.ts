/**
 * The floors of the code: a room imports only what lies below it. Rooms of one floor import nothing of each other.
 */
import { assertEquals } from "@std/assert";
import { importsOf, type Source, sources } from "./sources.ts";

/** The rooms, from the lowest floor to the highest. */
const FLOORS: readonly (readonly string[])[] = [
  ["ffi"],
  ["lib/base"],
  ["lib/tree"],
  ["lib/mount"],
  ["lib/store", "lib/tar"],
  ["lib/graph", "lib/snapshots"],
  ["lib/images"],
  ["lib/care"],
  ["drivers"],
  ["lib/services"],
  ["lib/migrate"],
  ["lib/cli"],
];

/** Entries, which put the program, a program that imports it and its workers together: they import anything. */
const ENTRIES = [
  "main.ts",
  "mod.ts",
  "drivers/program.ts",
  "drivers/lanes.ts",
  "drivers/lane_worker.ts",
  "drivers/docker_lane_worker.ts",
  "drivers/migrate_lane.ts",
  "drivers/migrate_lane_worker.ts",
];

/** The room of a file; `undefined` if it lies in none. */
function roomOf(path: string): string | undefined {
  return FLOORS.flat().find((room) => path.startsWith(`${room}/`));
}

/** The imports of files that no floor allows, each as `FILE imports FILE`. */
function forbidden(files: readonly Source[]): string[] {
  const floorOf = (room: string) => FLOORS.findIndex((rooms) => rooms.includes(room));
  const allowed = (path: string, target: string) => {
    const from = roomOf(path), to = roomOf(target);
    if (from === undefined || to === undefined) return false;
    return from === to || floorOf(to) < floorOf(from);
  };
  return files.filter(({ path }) => !ENTRIES.includes(path)).flatMap((file) =>
    importsOf(file).filter((target) => !allowed(file.path, target))
      .map((target) => `${file.path} imports ${target}`)
  );
}

/** The files on circles of imports, and between two circles. */
function circular(files: readonly Source[]): string[] {
  let left = files.map((file) => ({ path: file.path, imports: importsOf(file) }));
  while (true) {
    const paths = new Set(left.map(({ path }) => path));
    const imported = new Set(left.flatMap(({ imports }) => imports));
    const next = left.filter(({ path, imports }) =>
      imported.has(path) && imports.some((target) => paths.has(target))
    );
    if (next.length === left.length) return [...paths];
    left = next;
  }
}

const source = (path: string, text: string): Source => ({ path, text });

Deno.test("floors: each file of lib/ lies in a room", () => {
  assertEquals(sources("lib").map(({ path }) => path).filter((path) => !roomOf(path)), []);
});

Deno.test("floors: no file imports one of a higher floor, or of another room on its own", () => {
  assertEquals(forbidden(sources("ffi", "lib", "drivers")), []);
});

Deno.test("floors: no circle of imports", () => {
  assertEquals(circular(sources("ffi", "lib", "drivers")), []);
});

Deno.test("floors: what a file imports is found, and what no floor allows", () => {
  const files = [
    source("lib/tar/a.ts", 'import type { B } from "../graph/b.ts";\n'),
    source("lib/tar/b.ts", 'export { c } from "../store/c.ts";\n'),
    source("lib/cli/c.ts", 'const { d } = await import("../tar/d.ts");\nimport "@std/path";\n'),
    source("ffi/d.ts", 'import { e } from "../tests/e.ts";\n'),
    source("main.ts", 'import { f } from "./tests/f.ts";\n'),
  ];
  assertEquals(forbidden(files), [
    "lib/tar/a.ts imports lib/graph/b.ts",
    "lib/tar/b.ts imports lib/store/c.ts",
    "ffi/d.ts imports tests/e.ts",
  ]);
});

Deno.test("floors: a circle is found", () => {
  const files = [
    source("ffi/a.ts", 'import { b } from "./b.ts";\n'),
    source("ffi/b.ts", 'import { a } from "./a.ts";\n'),
    source("ffi/c.ts", 'import { a } from "./a.ts";\nimport { d } from "./d.ts";\n'),
    source("ffi/d.ts", ""),
  ];
  assertEquals(circular(files), ["ffi/a.ts", "ffi/b.ts"]);
});
