/**
 * Trees and tars as lists to compare, without what programs rightly write differently.
 */
import { must, tempDir } from "../support/cases.ts";
import { describe } from "../support/tree_entries.ts";
import type { TestStore } from "../support/commands.ts";

/** Lines of `describe` with times to the second: some programs' tars have no fractions. */
export function inSeconds(lines: readonly string[]): string[] {
  return lines.map((line) => line.replace(/^(".*?" \d+ \d+:\d+ -?\d+)\.\d+/, "$1"));
}

/** Lines of `describe` in which a file whose other names are hidden counts as one that has no others. */
export function withoutHiddenNames(lines: readonly string[]): string[] {
  const linked = lines.flatMap((line) => / (is ".*?")/.exec(line)?.[1] ?? []);
  const alone = linked.filter((name) => linked.indexOf(name) === linked.lastIndexOf(name));
  return lines.map((line) => alone.reduce((text, name) => text.replace(` ${name}`, ""), line));
}

/** Unpacks a tar by GNU tar, with all it holds. */
export function unpack(tar: string, directory: string): void {
  const xattrs = ["--xattrs", "--xattrs-include=*"];
  must("tar", "-C", directory, ...xattrs, "--numeric-owner", "-xpf", tar);
}

/**
 * What is in a tar, by GNU tar, with times to the second; of whiteouts name and size alone: nobody asks for their
 * mode or time.
 */
export function contentOf(tar: string): string[] {
  using dir = tempDir("tar-");
  unpack(tar, dir.path);
  return inSeconds(describe(dir.path))
    .map((line) => line.replace(/^(".*\.wh\.[^/"]*") \d+ \d+:\d+ \d+/, "$1"));
}

/** The names in a tar, without what programs write differently: `./` before and `/` behind. */
export function namesIn(tar: string): string[] {
  return must("tar", "-tf", tar).trim().split("\n")
    .map((name) => name.replace(/^\.\//, "").replace(/\/$/, "")).filter(Boolean).sort();
}

/** Looks at a layer where it is mounted. */
export function mounted<T>(store: TestStore, id: string, use: (root: string) => T): T {
  const root = store.must("mount", id).trimEnd();
  try {
    return use(root);
  } finally {
    store.must("umount", id);
  }
}
