/**
 * Everything that a module exports is used: by another module of the program, or in its own. What only tests use is
 * listed here.
 */
import { assertEquals } from "@std/assert";
import { entries, importsOf, type Source, sources } from "./sources.ts";

/** Exports that only tests use. */
const FOR_TESTS = [
  "ffi/directory.ts: DT_FIFO",
  "ffi/directory.ts: DT_LNK",
  "ffi/errno.ts: errnoEntries",
  "ffi/files.ts: O_TRUNC",
  "ffi/files.ts: SEEK_END",
  "ffi/files.ts: memfd",
  "ffi/fsmount.ts: MOUNT_ATTR_NODEV",
  "ffi/loop.ts: attach",
  "ffi/names.ts: UTIME_OMIT",
  "lib/tree/changes.ts: comparePaths",
];

/** A file without its comments, and what it imports. */
interface Module extends Source {
  readonly imports: readonly string[];
}

function moduleOf(file: Source): Module {
  const text = file.text.replace(/\/\*[^]*?\*\/|^\s*\/\/.*$/gm, "");
  return { path: file.path, text, imports: importsOf(file) };
}

/** The names that a module's own statements export: one each, or several constants. */
function exportsOf({ text }: Module): string[] {
  const statement =
    /^export (?:abstract |async )*(?:const|function\*?|class|interface|type) (\w+)(.*)/gm;
  return [...text.matchAll(statement)].flatMap(([, name, more]) => [
    name,
    ...[...more.matchAll(/, ([A-Z][A-Z0-9_]*) = /g)].map(([, name]) => name),
  ]);
}

/**
 * Exports, as `FILE: NAME`, that no user of a module mentions, nor the module itself once more. A module that is taken
 * whole is left out: a driver's code, which is loaded when it is asked for.
 */
function unused(modules: readonly Module[], users: readonly Module[]): string[] {
  return modules.filter(({ path }) => !/^drivers\/\w+\/(driver|check)\.ts$/.test(path)).flatMap(
    (module) => {
      const importers = users.filter(({ imports }) => imports.includes(module.path));
      return exportsOf(module).filter((name) => {
        const mention = new RegExp(`\\b${name}\\b`, "g");
        return module.text.match(mention)!.length < 2 &&
          !importers.some(({ text }) => text.search(mention) >= 0);
      }).map((name) => `${module.path}: ${name}`);
    },
  );
}

Deno.test("exports: the program uses all, but for those that only tests use", () => {
  const modules = sources("ffi", "lib", "drivers").map(moduleOf);
  assertEquals(unused(modules, [...modules, ...entries().map(moduleOf)]), FOR_TESTS);
});

Deno.test("exports: each that only tests use is used by one", () => {
  const modules = sources("ffi", "lib").map(moduleOf), tests = sources("tests").map(moduleOf);
  const left = new Set(unused(modules, [...modules, ...tests]));
  assertEquals(FOR_TESTS.filter((name) => left.has(name)), []);
});

Deno.test("exports: one that nothing uses is found", () => {
  const file = (path: string, text: string) => moduleOf({ path, text });
  const modules = [
    file(
      "lib/a.ts",
      "/** Of {@linkcode dead}. */\nexport const A = 1, B = 2;\nexport function dead() {}\n",
    ),
    file("lib/b.ts", 'import { A } from "./a.ts";\nexport class Used {}\nnew Used();\n'),
    file("lib/c.ts", "// dead B\nexport type Dead = string;\n"),
  ];
  assertEquals(unused(modules, modules), ["lib/a.ts: B", "lib/a.ts: dead", "lib/c.ts: Dead"]);
});
