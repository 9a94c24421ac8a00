/** Helpers for layers: fill, read, apply and diff them. */
import { assertEquals } from "@std/assert";
import { lchownSync } from "node:fs";
import { join } from "@std/path";
import { close, O_CREAT, O_RDONLY, O_TRUNC, O_WRONLY, open, withFd } from "../../ffi/files.ts";
import { lgetxattr, lsetxattr } from "../../ffi/xattr.ts";
import type { GraphDriver } from "../../lib/graph/driver.ts";
import { must } from "./cases.ts";
import { describeTree, tarOf } from "./trees.ts";

/** The tar of a layer without changes: the two zero blocks that end every tar. */
export const EMPTY_TAR = new Uint8Array(1024);

/** Makes a layer and changes it through its mount. */
export function fill(
  driver: GraphDriver,
  id: string,
  change: (root: string) => void,
  parent?: string,
): void {
  driver.create(id, { parent });
  const root = driver.get(id);
  try {
    change(root);
  } finally {
    driver.put(id);
  }
}

/** A layer with a file and a directory of unusual modes and owners. */
export function makeBase(driver: GraphDriver, id: string): void {
  fill(driver, id, (root) => {
    Deno.mkdirSync(`${root}/a subdir`);
    lchownSync(`${root}/a subdir`, 1, 2);
    Deno.chmodSync(`${root}/a subdir`, 0o1705);
    Deno.writeTextFileSync(`${root}/a file`, "content");
    lchownSync(`${root}/a file`, 3, 4);
    Deno.chmodSync(`${root}/a file`, 0o4222);
    lsetxattr(`${root}/a file`, "user.note", new TextEncoder().encode("kept"));
  });
}

export function verifyBase(driver: GraphDriver, id: string): void {
  const root = driver.get(id);
  try {
    const entries = [...describeTree(root)].map(([path, text]) =>
      `${path} ${text.split(" ").slice(0, 3).join(" ")}`
    );
    assertEquals(entries, ["/a file file 4222 3:4", "/a subdir directory 1705 1:2"]);
    assertEquals(Deno.readTextFileSync(`${root}/a file`), "content");
    const note = lgetxattr(`${root}/a file`, "user.note");
    assertEquals(new TextDecoder().decode(note), "kept");
  } finally {
    driver.put(id);
  }
}

export function rootOf(root: string): [number, number | null, number | null, string] {
  const { mode, uid, gid } = Deno.lstatSync(root);
  const note = lgetxattr(root, "user.root");
  return [mode! & 0o7777, uid, gid, new TextDecoder().decode(note)];
}

/** A layer's whole tree, through its mount. */
export function treeOf(driver: GraphDriver, id: string): Map<string, string> {
  const root = driver.get(id);
  try {
    return describeTree(root);
  } finally {
    driver.put(id);
  }
}

/** Applies a tar file; returns the driver's result. */
export function apply(driver: GraphDriver, id: string, tar: string): number {
  return withFd(open(tar, O_RDONLY), (fd) => driver.applyDiff(id, undefined, fd));
}

let tars = 0;

/** Writes a layer's diff to a file in `scratch`; returns its path. */
export function diff(
  driver: GraphDriver,
  id: string,
  parent: string | undefined,
  scratch: string,
): string {
  const path = join(scratch, `diff-${tars++}.tar`);
  const fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600);
  try {
    const written = driver.diff(id, parent, fd);
    assertEquals(written, Deno.statSync(path).size);
    return path;
  } finally {
    close(fd);
  }
}

/** Makes a tar of two files, of which the first is large enough to be cut; returns its path. */
export function sampleTar(scratch: string): string {
  Deno.mkdirSync(`${scratch}/sample`, { recursive: true });
  Deno.writeTextFileSync(`${scratch}/sample/big`, "big".repeat(10_000));
  Deno.writeTextFileSync(`${scratch}/sample/second`, "second".repeat(2_000));
  return tarOf(`${scratch}/sample`, `${scratch}/sample.tar`);
}

/**
 * Every path below a root, without the index of children, which any call makes anew whose records are
 * old enough.
 */
export function treeNames(root: string): string[] {
  const isNoIndex = ["!", "-path", "*/.veneer/children"];
  return must("find", root, "-xdev", ...isNoIndex).trim().split("\n").sort();
}
