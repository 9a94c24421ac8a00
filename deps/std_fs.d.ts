/** Types of the functions of `@std/fs` that this project uses. */
export function ensureDirSync(dir: string | URL): void;
export function existsSync(
  path: string | URL,
  options?: { isReadable?: boolean; isDirectory?: boolean; isFile?: boolean },
): boolean;

export interface WalkOptions {
  maxDepth?: number;
  includeFiles?: boolean;
  includeDirs?: boolean;
  includeSymlinks?: boolean;
  followSymlinks?: boolean;
  match?: RegExp[];
  skip?: RegExp[];
}
export interface WalkEntry extends Deno.DirEntry {
  path: string;
}
export function walkSync(
  root: string | URL,
  options?: WalkOptions,
): IterableIterator<WalkEntry>;

export interface ExpandGlobOptions extends Omit<WalkOptions, "match" | "skip"> {
  /** Relative patterns are below it. */
  root?: string;
  exclude?: string[];
}
export function expandGlobSync(
  glob: string | URL,
  options?: ExpandGlobOptions,
): IterableIterator<WalkEntry>;
