/**
 * What the tests of the tar engine share: a layer to apply to, beside a sentinel that must not change, and
 * trees as text to compare.
 *
 * @module
 */
import { assertEquals, assertInstanceOf } from "@std/assert";
import { readNames } from "../../../ffi/directory.ts";
import {
  close,
  memfd,
  O_DIRECTORY,
  O_RDONLY,
  open,
  pwriteAll,
  readFile,
  withFd,
} from "../../../ffi/files.ts";
import { readlink } from "../../../ffi/paths.ts";
import { lstat } from "../../../ffi/stat.ts";
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG } from "../../../ffi/names.ts";
import { lgetxattr, llistxattr } from "../../../ffi/xattr.ts";
import { decode } from "../../../ffi/cstring.ts";
import { VeneerError } from "../../../lib/base/errors.ts";
import { IDENTITY } from "../../../lib/base/id_maps.ts";
import { type Applied, type ApplyOptions, applyTar } from "../../../lib/tar/apply/apply.ts";

/** A directory for a test, on the file system that the tests were told to use. */
export function makeTempDir(): string {
  return Deno.makeTempDirSync({ dir: Deno.env.get("VENEER_TEST_DIR"), prefix: "veneer-tar-" });
}

/** A layer's root, and beside it what a tar that breaks out would reach. */
export class Sandbox {
  readonly top = makeTempDir();
  readonly root = `${this.top}/layer`;
  readonly outside = `${this.top}/etc`;
  readonly warnings: string[] = [];
  /** The directories of layers below, uppermost first; see {@linkcode Sandbox.putBelow}. */
  readonly lowers: string[] = [];
  #before: string[];

  constructor() {
    Deno.mkdirSync(this.root);
    Deno.mkdirSync(this.outside);
    Deno.writeTextFileSync(`${this.outside}/passwd`, "outside");
    Deno.writeTextFileSync(`${this.top}/victim`, "victim");
    Deno.symlinkSync("victim", `${this.top}/victim-link`);
    this.#before = this.#surroundings();
  }

  /** Everything but the layer's content. */
  #surroundings(): string[] {
    return tree(this.top, { times: true }).filter((line) =>
      !line.startsWith("layer/") && !line.startsWith("layer ")
    );
  }

  /**
   * Puts a layer under this one, above those that are there, and applies a tar to it; it must not
   * change then.
   */
  putBelow(tar: Uint8Array<ArrayBuffer>, options: Partial<ApplyOptions> = {}): string {
    const lower = `${this.top}/lower-${this.lowers.length}`;
    Deno.mkdirSync(lower);
    this.#applyTo(lower, tar, { lowers: this.lowers, ...options });
    this.lowers.unshift(lower);
    this.#before = this.#surroundings();
    return lower;
  }

  /** Applies a tar to the layer. */
  apply(tar: Uint8Array<ArrayBuffer>, options: Partial<ApplyOptions> = {}): Applied {
    return this.#applyTo(this.root, tar, { lowers: this.lowers, ...options });
  }

  #applyTo(root: string, tar: Uint8Array<ArrayBuffer>, options: Partial<ApplyOptions>): Applied {
    const input = memfd("tar");
    const directory = open(root, O_RDONLY | O_DIRECTORY);
    try {
      pwriteAll(input, tar, 0n);
      return applyTar(input, directory, {
        whiteouts: "none",
        idMaps: IDENTITY,
        workers: 0,
        warn: (message, remedy) => {
          assertEquals(remedy, undefined, message);
          this.warnings.push(message);
        },
        ...options,
      });
    } finally {
      close(input);
      close(directory);
    }
  }

  /** Applies a tar that must be refused with one clear line; returns the line. */
  refuse(tar: Uint8Array<ArrayBuffer>, options: Partial<ApplyOptions> = {}): string {
    let error: unknown;
    try {
      this.apply(tar, options);
    } catch (thrown) {
      error = thrown;
    }
    assertInstanceOf(error, VeneerError);
    assertEquals(error.code, "invalid argument", error.message);
    assertEquals(error.message.includes("\n"), false, error.message);
    return error.message;
  }

  /** The layer's content as text; see {@linkcode tree}. */
  tree(options?: TreeOptions): string[] {
    return tree(this.root, options);
  }

  /** Holds what surrounds the layer against what it was. */
  assertContained(): void {
    assertEquals(this.#surroundings(), this.#before);
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.top, { recursive: true });
  }
}

export interface TreeOptions {
  /** Modes and owners: on by default. */
  attributes?: boolean;
  /** Modification times to the nanosecond. */
  times?: boolean;
  /** Numbers of links, and inode numbers in place of them where `"inodes"`. */
  links?: boolean;
}

const TYPES: Readonly<Record<number, string>> = {
  [S_IFREG]: "file",
  [S_IFDIR]: "dir",
  [S_IFLNK]: "link",
  [S_IFCHR]: "char",
  [S_IFBLK]: "block",
  [S_IFIFO]: "fifo",
};

/**
 * A tree as sorted lines: `path type mode uid:gid [content | -> target | major:minor] [xattr=value…]`.
 * The root itself is the line `.`, only where times or attributes other than the usual show.
 */
export function tree(root: string, options: TreeOptions = {}): string[] {
  const lines: string[] = [];
  const walk = (path: string, shown: string) => {
    lines.push(line(path, shown, options));
    if (!lstat(path).isDirectory) return;
    const names = withFd(open(path, O_RDONLY | O_DIRECTORY), readNames);
    for (const name of names) walk(`${path}/${name}`, shown === "." ? name : `${shown}/${name}`);
  };
  walk(root, ".");
  return lines.slice(1);
}

/** One entry's line. */
export function line(path: string, shown: string, options: TreeOptions = {}): string {
  const stat = lstat(path);
  const type = TYPES[stat.type] ?? "?";
  const words = [shown, type];
  if (options.attributes ?? true) {
    if (!stat.isSymlink) words.push((stat.mode & 0o7777).toString(8));
    words.push(`${stat.uid}:${stat.gid}`);
  }
  if (options.times) words.push(`${stat.seconds}.${`${stat.nanos}`.padStart(9, "0")}`);
  if (options.links && !stat.isDirectory) words.push(`links=${stat.links}`);
  if (stat.isFile) words.push(content(path, stat.size));
  if (stat.isSymlink) words.push(`-> ${readlink(path)}`);
  if (stat.isDevice) words.push(`${stat.rdevMajor}:${stat.rdevMinor}`);
  for (const key of llistxattr(path)) {
    if (key === "security.selinux") continue;
    words.push(`${key}=${JSON.stringify(decode(lgetxattr(path, key) ?? new Uint8Array()))}`);
  }
  return words.join(" ");
}

function content(path: string, size: number): string {
  if (size > 64) return `<${size} bytes>`;
  return JSON.stringify(decode(readFile(path)));
}

/** Runs a program that must succeed; returns its output. */
export function run(command: string, ...args: string[]): Uint8Array<ArrayBuffer> {
  const { success, stdout, stderr } = new Deno.Command(command, { args }).outputSync();
  assertEquals(success, true, new TextDecoder().decode(stderr));
  return new Uint8Array(stdout);
}
