/**
 * The configuration file: the stores, and their settings.
 *
 * ```toml
 * root = "/srv/layers"
 * driver = "btrfs"
 * options = ["btrfs.min_space=1G"]
 *
 * [stores.ci] # by --store ci; what it leaves out is as above
 * root = "/mnt/ci"
 * driver = "overlay2"
 * uidmap = ["0:100000:65536"]
 * gidmap = ["0:100000:65536"]
 * ```
 *
 * @module
 */
import { ENOENT, ENOTDIR } from "../../ffi/errno.ts";
import { O_RDONLY, read, tryOpen, withFd } from "../../ffi/files.ts";
import { fstat } from "../../ffi/stat.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { VeneerError } from "../base/errors.ts";
import { suggestion } from "../base/options.ts";
import { requireTrustedOwner } from "../store/trusted_owner.ts";
import { DRIVER_NAMES } from "../../drivers/names.ts";

/** The file that is read if no other file is named. */
export const CONFIG_FILE = "/etc/veneer/config.toml";

/** The most bytes of the file: more than any that a person writes. */
const MOST_BYTES = 1 << 20;

/** The keys with one value, and the keys with a list. */
const TEXTS = ["root", "driver"] as const, LISTS = ["options", "uidmap", "gidmap"] as const;

/** Values by their keys. The list of a key with one value has one element. */
export type Table = Readonly<Partial<Record<string, readonly string[]>>>;

/** The content of a file. */
export interface ConfigFile {
  readonly path: string;
  /** The values outside tables. */
  readonly own: Table;
  readonly stores: Readonly<Record<string, Table>>;
}

/**
 * Reads a configuration file; `undefined` if it is missing.
 *
 * @throws {VeneerError} `incompatible` if others than root can write to it, `invalid argument`,
 * with the line, if it is invalid
 */
export async function readConfigFile(path: string): Promise<ConfigFile | undefined> {
  const fd = tryOpen(path, O_RDONLY);
  if (fd === -ENOENT || fd === -ENOTDIR) return undefined;
  const text = withFd(unwrap(fd, "open", path), (fd) => readTrusted(fd, path));
  // It is loaded only if there is a file, since it delays the start of a command.
  const { parse, TomlError } = await import("smol-toml");
  let parsed: Record<string, unknown>;
  try {
    parsed = parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const [reason] = error.message.replace(/^Invalid TOML document: /, "").split("\n");
    throw invalid(path, error.line, reason);
  }
  const reader = new Reader(path, text);
  const { stores = {}, ...own } = parsed;
  if (!isTable(stores)) throw invalid(path, reader.lineOf("stores"), "stores is not a table");
  return {
    path,
    own: reader.table(own, undefined),
    stores: Object.fromEntries(
      Object.entries(stores).map(([name, store]) => {
        const line = reader.lineOf(undefined, name);
        if (!isTable(store)) throw invalid(path, line, `stores.${name} is not a table`);
        return [name, reader.table(store, name)];
      }),
    ),
  };
}

function readTrusted(fd: number, path: string): string {
  const stat = fstat(fd);
  if (!stat.isFile) throw new VeneerError("incompatible", `${path} is not a regular file`);
  requireTrustedOwner(fd, path);
  if (stat.size > MOST_BYTES) {
    throw new VeneerError(
      "invalid argument",
      `${path} has more than 1 MiB: it is no configuration`,
    );
  }
  const bytes = new Uint8Array(stat.size);
  return new TextDecoder().decode(bytes.subarray(0, read(fd, bytes)));
}

const isTable = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date);

/** Reads the values of one file, and finds the lines of invalid ones. */
class Reader {
  readonly #lines: readonly string[];

  constructor(readonly path: string, text: string) {
    this.#lines = text.split("\n");
  }

  /** @param store the name of the store if this is a store's table */
  table(values: Readonly<Record<string, unknown>>, store: string | undefined): Table {
    return Object.fromEntries(
      Object.entries(values).map(([key, value]) => [key, this.#values(key, value, store)]),
    );
  }

  #values(key: string, value: unknown, store: string | undefined): readonly string[] {
    const fail = (reason: string) => invalid(this.path, this.lineOf(key, store), reason);
    if ((TEXTS as readonly string[]).includes(key)) {
      if (typeof value !== "string" || value === "") throw fail(`${key} must be a text`);
      if (key === "root" && !value.startsWith("/")) throw fail("root must begin with /");
      if (key === "driver" && !DRIVER_NAMES.includes(value)) {
        throw fail(`driver ${JSON.stringify(value)}: ${suggestion(value, DRIVER_NAMES)}`);
      }
      return [value];
    }
    if (!(LISTS as readonly string[]).includes(key)) {
      const known = [...TEXTS, ...LISTS, ...store === undefined ? ["stores"] : []];
      throw fail(`unknown key ${JSON.stringify(key)}; ${suggestion(key, known)}`);
    }
    if (Array.isArray(value) && value.every((text) => typeof text === "string")) return value;
    throw fail(`${key} must be a list of texts, such as ["${EXAMPLES[key]}"]`);
  }

  /**
   * The line of a key, or of a store's table, from 1; `undefined` if it is not found in this form.
   */
  lineOf(key: string | undefined, store?: string): number | undefined {
    let table = "";
    for (const [i, line] of this.#lines.entries()) {
      const header = /^\s*\[\s*([^\]]*?)\s*\]/.exec(line)?.[1];
      if (header !== undefined) table = header.replaceAll(/["' ]/g, "");
      const wanted = store === undefined ? "" : `stores.${store}`;
      if (table !== wanted) continue;
      const own = /^\s*["']?([\w.-]+)["']?\s*=/.exec(line)?.[1];
      if (key === undefined ? header !== undefined : own === key) return i + 1;
    }
    return undefined;
  }
}

const EXAMPLES: Readonly<Record<string, string>> = {
  options: "overlay2.size=10G",
  uidmap: "0:100000:65536",
  gidmap: "0:100000:65536",
};

function invalid(path: string, line: number | undefined, reason: string): VeneerError {
  return new VeneerError(
    "invalid argument",
    `${path}${line === undefined ? "" : `, line ${line}`}: ${reason}`,
  );
}
