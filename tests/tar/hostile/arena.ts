/**
 * Where hostile tars are tried: a store of its own, which a layer stands in, in the midst of files that must
 * stay as they are.
 *
 * @module
 */
import { close, memfd, pwriteAll, readFile } from "../../../ffi/files.ts";
import { readlink } from "../../../ffi/paths.ts";
import { lstat } from "../../../ffi/stat.ts";
import { lgetxattr, llistxattr } from "../../../ffi/xattr.ts";
import { openDriver } from "../../support/drivers.ts";
import { codeOf, VeneerError } from "../../../lib/base/errors.ts";
import type { GraphDriver } from "../../../lib/graph/driver.ts";
import { IDENTITY } from "../../../lib/base/id_maps.ts";
import { storeDir } from "../../support/store_dir.ts";
import type { TempDir } from "../../support/cases.ts";
import { cpuTime, limitHere } from "../../support/cpu_time.ts";
import { dir, file, hardlink, paxRecord, record, symlink, tar } from "../support/tar_builder.ts";
import { isThere } from "../../support/files.ts";
import type { HostileTar } from "./hostile_tar.ts";

/** The drivers that are tried, and where each has the content of a layer below the store's root. */
const CONTENT = {
  overlay2: (id: string) => `overlay2/${id}/diff`,
  btrfs: (id: string) => `btrfs/subvolumes/${id}`,
} as const;

export type Driver = keyof typeof CONTENT;

/** Processor time, of all threads, that one small tar may take, in ms. */
const MOST_CPU = 2000;

/** The layer that is applied to, and the mark that it is incomplete. */
const LAYER = "layer";

/** What the layer's parent has, for tars to meet. */
const PARENT = tar(
  dir("pdir", { mode: 0o700 }),
  file("pdir/x", "x"),
  dir("pdir/sub"),
  file("pdir/sub/y", "y"),
  file("pfile", "parent"),
  hardlink("pfile", "phard"),
  symlink("pfile", "plink"),
  symlink("/etc", "abs"),
  symlink("../../../..", "up"),
  symlink("loop", "loop"),
  symlink("nowhere/at/all", "dangling"),
  record({ name: "p", type: "x", data: paxRecord("SCHILY.xattr.user.note", "kept") }),
  file("noted", "x"),
);

/** How an apply ended. */
export interface Outcome {
  readonly result: "applied" | "refused";
  /** The line it was refused with. */
  readonly message: string;
  /** Processor time in ms. */
  readonly cpu: number;
}

/** One store in its surroundings: for one tar, or for several as long as nothing breaks. */
export class Arena implements Disposable {
  readonly #dir: TempDir = storeDir();
  readonly #driver: GraphDriver;
  readonly #content: string;
  readonly #home: string;
  /** The driver's own: the mark of the layer, the record of its files, and the index of children. */
  readonly #own: readonly string[];

  constructor(driver: Driver) {
    this.#surround();
    const root = `${this.#dir.path}/root`;
    this.#home = `${root}/${driver}`;
    this.#content = `${root}/${CONTENT[driver](LAYER)}`;
    this.#own = [`incomplete/${LAYER}`, `content/${LAYER}`, "children"]
      .map((name) => `${this.#home}/.veneer/${name}`);
    const options = driver === "btrfs" ? ["btrfs.quota=off"] : [];
    this.#driver = openDriver({ root, driver, options, idMaps: IDENTITY, warn: () => {} });
    this.#driver.create("parent", {});
    apply(this.#driver, "parent", PARENT);
  }

  /** What climbs, from a layer's root or from above it, would meet. */
  #surround(): void {
    const top = this.#dir.path;
    Deno.mkdirSync(`${top}/root`);
    for (const place of [top, `${top}/root`]) {
      Deno.writeTextFileSync(`${place}/victim`, "victim");
      Deno.mkdirSync(`${place}/etc`, { mode: 0o700 });
      Deno.writeTextFileSync(`${place}/etc/passwd`, "outside");
      Deno.chownSync(`${place}/etc/passwd`, 12, 34);
      Deno.chmodSync(`${place}/etc/passwd`, 0o4711);
      Deno.mkdirSync(`${place}/other/d/x`, { recursive: true });
      Deno.symlinkSync("victim", `${place}/link`);
      Deno.utimeSync(`${place}/etc/passwd`, 1, 2);
    }
  }

  /**
   * Applies a tar to a new layer, holds everything around it against what was before, and removes the layer.
   *
   * @throws {Error} saying what broke
   */
  try({ bytes }: HostileTar): Outcome {
    this.#driver.create(LAYER, { parent: "parent" });
    const before = this.#manifest();
    const started = cpuTime();
    let error: unknown;
    try {
      apply(this.#driver, LAYER, bytes);
    } catch (thrown) {
      error = thrown;
    }
    const cpu = cpuTime() - started;
    compare(before, this.#manifest());
    this.#driver.remove(LAYER);
    const [mark, record] = this.#own;
    if ([this.#content, mark, record].some(isThere)) {
      throw new Error("the layer is still there after its removal");
    }
    if (cpu > limitHere(MOST_CPU)) {
      throw new Error(`it took ${Math.round(cpu)} ms of processor time`);
    }
    return { result: error === undefined ? "applied" : "refused", message: explained(error), cpu };
  }

  /** Everything but the layer's content: what each path is, to the nanosecond. */
  #manifest(): Map<string, string> {
    const lines = new Map<string, string>();
    const todo = [this.#dir.path];
    for (let path; (path = todo.pop()) !== undefined;) {
      if (path === this.#content || this.#own.includes(path)) continue;
      const stat = lstat(path);
      const words = [stat.type, stat.mode.toString(8), stat.uid, stat.gid];
      if (!this.#isBook(path)) {
        words.push(stat.inode.toString(), stat.links, stat.seconds, stat.nanos);
      }
      for (const key of llistxattr(path)) words.push(key, (lgetxattr(path, key) ?? []).toString());
      if (stat.isFile) words.push(readFile(path).toBase64());
      if (stat.isSymlink) words.push(readlink(path));
      if (stat.isDirectory) {
        for (const { name } of Deno.readDirSync(path)) todo.push(`${path}/${name}`);
      }
      lines.set(path, words.join(" "));
    }
    return lines;
  }

  /** Whether it is a directory that the driver itself writes to when it applies or starts a layer over. */
  #isBook(path: string): boolean {
    return path === this.#home || path === `${this.#home}/${LAYER}` ||
      path === `${this.#home}/subvolumes` || path.startsWith(`${this.#home}/.veneer`) ||
      path.startsWith(`${this.#home}/${LAYER}/work`);
  }

  [Symbol.dispose](): void {
    this.#driver.cleanup();
    this.#dir[Symbol.dispose]();
  }
}

function apply(driver: GraphDriver, id: string, bytes: Uint8Array<ArrayBuffer>): void {
  const input = memfd("tar");
  try {
    pwriteAll(input, bytes, 0n);
    driver.applyDiff(id, undefined, input);
  } finally {
    close(input);
  }
}

/** The line of an error that a hostile tar may end with; throws for every other one. */
function explained(error: unknown): string {
  if (error === undefined) return "";
  const code = codeOf(error);
  const message = error instanceof Error ? error.message : String(error);
  if (!(error instanceof VeneerError) || !FITTING.has(code)) {
    throw new Error(`it ended with ${code}: ${message}`, { cause: error });
  }
  if (message.includes("\n")) throw new Error(`its message has several lines: ${message}`);
  if (!NAMES_PLACE.test(message)) throw new Error(`its message says not where: ${message}`);
  return message;
}

const FITTING: ReadonlySet<string> = new Set([
  "invalid argument",
  "limit exceeded",
  "not supported",
]);
/** An entry, a path, an offset or the input as a whole. */
const NAMES_PLACE = /^tar: (entry "|"|at byte \d|the (input|\w+ input))/;

function compare(before: Map<string, string>, after: Map<string, string>): void {
  const changed = [...new Set([...before.keys(), ...after.keys()])]
    .filter((path) => before.get(path) !== after.get(path));
  if (changed.length === 0) return;
  const [path] = changed;
  throw new Error(
    `outside the layer ${changed.length} changed, the first: ${path}: ` +
      `${before.get(path) ?? "nothing"} became ${after.get(path) ?? "nothing"}`,
  );
}
