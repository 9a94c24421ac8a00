/**
 * The layout of an overlay2 home, which is Docker's:
 *
 * ```text
 * <id>/diff     the layer's own files and whiteouts: overlay's upper directory
 * <id>/link     the layer's short name, 26 characters
 * <id>/lower    `l/<name>` of every layer below, uppermost first, joined by `:`; a base layer has none
 * <id>/work     overlay's work directory; a base layer has none
 * <id>/merged   where it is mounted; there only while it is
 * l/<name>      -> ../<id>/diff
 * ```
 *
 * Short names keep the options of a mount of many layers within a page. What is read here may have been
 * written by anyone who once wrote to the store, so it is checked, and the file at fault is named.
 *
 * @module
 */
import { ENOENT, ENOTDIR } from "../../ffi/errno.ts";
import { tryReadlink } from "../../ffi/paths.ts";
import { Stat, tryLstat } from "../../ffi/stat.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { decode } from "../../ffi/cstring.ts";
import { VeneerError } from "../../lib/errors.ts";
import { type Home, list } from "../../lib/home.ts";
import { isId } from "../../lib/ids.ts";
import { readMetadata } from "../../lib/metadata.ts";

/** The directory of short names; no layer can have this id. */
export const LINKS = "l";

/** RFC 4648 base32, as Docker's names are. */
const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const NAME_LENGTH = 26;
const NAME = /^[A-Za-z0-9]+$/;
const ENTRY = /^l\/[A-Za-z0-9]+$/;

/** A new short name: 130 random bits. */
export function newLinkName(): string {
  const random = crypto.getRandomValues(new Uint8Array(NAME_LENGTH));
  return Array.from(random, (byte) => ALPHABET[byte & 31]).join("");
}

/** What a link in `l/` points to for a layer. */
export const linkTarget = (id: string): string => `../${id}/diff`;

/** Where the parts of a home's layers are, and what they say. */
export class Layout {
  readonly #stat = new Stat();

  constructor(readonly home: Home) {}

  layer(id: string): string {
    return `${this.home.path}/${id}`;
  }
  diff(id: string): string {
    return `${this.home.path}/${id}/diff`;
  }
  work(id: string): string {
    return `${this.home.path}/${id}/work`;
  }
  merged(id: string): string {
    return `${this.home.path}/${id}/merged`;
  }
  links(): string {
    return `${this.home.path}/${LINKS}`;
  }

  /** Every id with a layer's directory, whole or what an interrupted removal by another program left of it. */
  list(): string[] {
    const isLayer = (name: string) =>
      name !== LINKS && isId(name) &&
      ["link", "diff", "lower", "work"].some((part) => this.#has(`${name}/${part}`));
    return list(this.home.path).filter(isLayer);
  }

  exists(id: string): boolean {
    return id !== LINKS && tryLstat(this.layer(id), this.#stat)?.isDirectory === true;
  }

  /**
   * A layer's short name.
   *
   * @throws {VeneerError} `corrupt store` where it has none
   */
  link(id: string): string {
    const path = `${this.layer(id)}/link`;
    const name = readMetadata(path);
    if (name === undefined) throw corrupt(path, `is missing; remove layer ${id} and make it anew`);
    if (!NAME.test(name)) throw corrupt(path, `holds ${quote(name)}, which is no name of a link`);
    return name;
  }

  /**
   * The entries `l/<name>` of the layers below a layer, uppermost first; none for a base layer.
   *
   * @throws {VeneerError} `corrupt store` where the file holds anything else
   */
  lowers(id: string): string[] {
    const path = `${this.layer(id)}/lower`;
    const text = readMetadata(path);
    if (text === undefined) return [];
    const entries = text.split(":");
    const wrong = entries.find((entry) => !ENTRY.test(entry));
    if (wrong !== undefined) {
      throw corrupt(path, `holds ${quote(wrong)}, where l/<name> is expected`);
    }
    return entries;
  }

  /** What a child's `lower` lists: the layer itself, then what is below it. */
  lowersOfChild(parent: string): string[] {
    return [`${LINKS}/${this.link(parent)}`, ...this.lowers(parent)];
  }

  /**
   * The id of the layer that an entry of a `lower` file stands for.
   *
   * @param from the id whose `lower` it is in, for the message
   * @throws {VeneerError} `corrupt store` where the link is missing, or leads to no layer
   */
  resolve(entry: string, from: string): string {
    const path = `${this.home.path}/${entry}`;
    const target = tryReadlink(path);
    if (typeof target === "number") {
      if (target === -ENOENT) {
        throw corrupt(`${this.layer(from)}/lower`, `names ${entry}, and ${path} does not exist`);
      }
      // EINVAL: something that is no link.
      throw corrupt(path, "is not a symbolic link to a layer");
    }
    const text = decode(target);
    const id = /^\.\.\/([^/]+)\/diff$/.exec(text)?.[1];
    if (id === undefined || !isId(id) || id === LINKS) {
      throw corrupt(path, `points to ${quote(text)}, where ../<id>/diff is expected`);
    }
    return id;
  }

  /**
   * The ids below a layer, its parent first.
   *
   * @throws {VeneerError} `corrupt store` where a link does not lead to a layer's files, or these are gone
   */
  ancestors(id: string): string[] {
    const ancestors = this.lowers(id).map((entry) => this.resolve(entry, id));
    const gone = ancestors.find((ancestor) => !this.#has(`${ancestor}/diff`));
    if (gone === undefined) return ancestors;
    throw corrupt(
      `${this.layer(id)}/lower`,
      `names layer ${gone}, and ${this.diff(gone)} does not exist`,
    );
  }

  /** The parent's id, `""` for a base layer; `undefined` for what is left of a layer half removed. */
  parent(id: string): string | undefined {
    const [entry] = this.lowers(id);
    if (entry !== undefined) return this.resolve(entry, id);
    return this.#has(`${id}/link`) ? "" : undefined;
  }

  /** @throws {VeneerError} `corrupt store` where the layer's own files are gone */
  requireDiff(id: string): void {
    if (this.#has(`${id}/diff`)) return;
    throw corrupt(this.diff(id), `is missing; remove layer ${id} and make it anew`);
  }

  /** The target of a link in `l/`, `undefined` where there is none. */
  linkTarget(name: string): string | undefined {
    const path = `${this.links()}/${name}`;
    const target = tryReadlink(path);
    if (typeof target !== "number") return decode(target);
    if (target === -ENOENT || target === -ENOTDIR) return undefined;
    unwrap(target, "readlinkat", path);
    return undefined;
  }

  #has(part: string): boolean {
    return tryLstat(`${this.home.path}/${part}`, this.#stat) !== undefined;
  }
}

/** Whether a text could be the name of a link. */
export const isLinkName = (text: string): boolean => NAME.test(text);

function corrupt(path: string, what: string): VeneerError {
  return new VeneerError("corrupt store", `${path} ${what}`);
}

const quote = (text: string) => JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
