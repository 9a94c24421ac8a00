/**
 * The project's own source text, for tests of rules that every file keeps.
 *
 * @module
 */
import { existsSync, walkSync } from "@std/fs";
import { dirname, join } from "@std/path";

/** The project's directory. */
const TOP = dirname(dirname(import.meta.dirname!));

/** A source file: its path relative to the project, and its text. */
export interface Source {
  readonly path: string;
  readonly text: string;
}

/** Reads the TypeScript files below folders of the project, such as `lib`; sorted by path. */
export function sources(...folders: string[]): Source[] {
  return folders
    .flatMap((folder) => [...walkSync(join(TOP, folder), { includeDirs: false, match: [/\.ts$/] })])
    .map(({ path }) => ({ path: path.slice(TOP.length + 1), text: Deno.readTextFileSync(path) }))
    .sort((a, b) => a.path < b.path ? -1 : 1);
}

/** Reads the files by which the project is entered: the program, and what a program imports. */
export function entries(): Source[] {
  return ["main.ts", "mod.ts"].filter((path) => existsSync(join(TOP, path)))
    .map((path) => ({ path, text: Deno.readTextFileSync(join(TOP, path)) }));
}

/** The files that a file imports, of its types too and on demand too; packages of the import map are left out. */
export function importsOf({ path, text }: Source): string[] {
  return [...text.matchAll(/\b(?:from |import\(?)\s*"(\.[^"]+)"/g)]
    .map(([, target]) => join(dirname(path), target));
}
