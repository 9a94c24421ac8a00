/**
 * The layout of an overlay2 home, which is Docker's:
 *
 * ```text
 * <id>/diff     the layer's own files and whiteouts: overlay's upper directory
 * <id>/link     the layer's short name, 26 characters
 * <id>/lower    `l/<name>` of every layer below, uppermost first, joined by `:`; a base layer has none
 * <id>/work     overlay's work directory; a base layer has none
 * <id>/merged   its mount point, while it is mounted; elsewhere for a read-only home
 * <id>/committed  exists if the layer got a child: it is then mounted read-only
 * l/<name>      -> ../<id>/diff
 * ```
 *
 * Short names keep the options of a mount of many layers within a page. Any program that could ever
 * write to the store may have written these files, so they are checked, and errors name the bad
 * file.
 *
 * @module
 */
import { decode } from "../../ffi/cstring.ts";
import { entryName } from "../../ffi/entry_name.ts";
import { EINVAL, ENOENT, ENOTDIR } from "../../ffi/errno.ts";
import { tryReadlinkat } from "../../ffi/names.ts";
import {
  type ConfinedPath,
  exists,
  isDirectory,
  list,
  tryReadlink,
  unwrapConfined,
} from "../../lib/tree/confined.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import type { Home } from "../../lib/store/home.ts";
import type { IdMaps } from "../../lib/base/id_maps.ts";
import { isId } from "../../lib/base/ids.ts";
import { readMetadata } from "../../lib/store/metadata.ts";
import { mountsBeside } from "../../lib/store/run_root.ts";
import { makeOwned } from "../union/layer_root.ts";

/** The directory of short names; no layer can have this id. */
export const LINKS = "l";

/** RFC 4648 base32, like Docker's names. */
const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const NAME_LENGTH = 26;
/** Other programs may make shorter or longer names; the kernel allows 255 bytes. */
const NAME = /^[A-Za-z0-9]{1,255}$/;
const ENTRY = /^l\/[A-Za-z0-9]{1,255}$/;

/** A new short name: 130 random bits. */
export function newLinkName(): string {
  const random = crypto.getRandomValues(new Uint8Array(NAME_LENGTH));
  return Array.from(random, (byte) => ALPHABET[byte & 31]).join("");
}

/** The target of a layer's link in `l/`. */
export const linkTarget = (id: string): string => `../${id}/diff`;

/**
 * Makes `<id>`. Container root's group may enter it, to reach the mount in it; only root may list
 * it.
 */
export function makeLayerDirectory(path: ConfinedPath, { gids }: IdMaps): void {
  makeOwned(path, 0o710, 0, gids.root);
}

/** Makes `work`, which only overlay uses. */
export function makeWork(path: ConfinedPath, { uids, gids }: IdMaps): void {
  makeOwned(path, 0o700, uids.root, gids.root);
}

/** The paths of a home's layers, and their records. */
export class Layout {
  /** The directory of mount points for layers without `merged`, if the home is read-only. */
  readonly #beside: ConfinedPath | undefined;

  constructor(readonly home: Home) {
    if (home.isReadOnly) this.#beside = mountsBeside(home);
  }

  layer(id: string): ConfinedPath {
    return this.home.join(id);
  }
  diff(id: string): ConfinedPath {
    return this.home.join(id, "diff");
  }
  work(id: string): ConfinedPath {
    return this.home.join(id, "work");
  }
  merged(id: string): ConfinedPath {
    const merged = this.home.join(id, "merged");
    return this.#beside === undefined || isDirectory(merged) ? merged : this.#beside.join(id);
  }
  committed(id: string): ConfinedPath {
    return this.layer(id).join("committed");
  }
  lower(id: string): ConfinedPath {
    return this.layer(id).join("lower");
  }
  links(): ConfinedPath {
    return this.home.join(LINKS);
  }

  /**
   * The ids of all layers' directories, including those left by another program's interrupted
   * removal.
   */
  list(): string[] {
    const isLayer = (name: string) =>
      name !== LINKS && isId(name) &&
      ["link", "diff", "lower", "work"].some((part) => exists(this.home.join(name, part)));
    return this.home.root.hold(() => list(this.home.join()).filter(isLayer));
  }

  exists(id: string): boolean {
    return id !== LINKS && isDirectory(this.layer(id));
  }

  /**
   * A layer's short name.
   *
   * @throws {VeneerError} `corrupt store` if it is missing or invalid
   */
  link(id: string): string {
    const path = this.#link(id);
    const name = readMetadata(path);
    if (name === undefined) {
      throw corrupt(path, `is missing; remove layer ${id} and create it again`);
    }
    if (!NAME.test(name)) {
      throw corrupt(path, `holds ${quote(name)}, which is not the name of a link`);
    }
    return name;
  }

  /**
   * The entries `l/<name>` of the layers below a layer, uppermost first; empty for a base layer.
   *
   * @throws {VeneerError} `corrupt store` if the file has other content
   */
  lowers(id: string): string[] {
    const path = this.lower(id);
    const text = readMetadata(path);
    if (text === undefined) return [];
    const entries = text.split(":");
    const wrong = entries.find((entry) => !ENTRY.test(entry));
    if (wrong !== undefined) {
      throw corrupt(path, `holds ${quote(wrong)} instead of l/<name>`);
    }
    return entries;
  }

  /**
   * The entries of a child's `lower`: that of the parent, then those of the layers below the
   * parent.
   */
  lowersOfChild(parent: string): string[] {
    return [`${LINKS}/${this.link(parent)}`, ...this.lowers(parent)];
  }

  /**
   * The id of the layer of an entry in a `lower` file.
   *
   * @param from the id of the layer with this `lower`, for the message
   * @throws {VeneerError} `corrupt store` if the link is missing or does not lead to a layer
   */
  resolve(entry: string, from: string): string {
    const path = this.home.join(entry), text = this.#readlink(path);
    if (typeof text === "number") {
      if (text === -ENOENT) {
        throw corrupt(this.lower(from), `names ${entry}, and ${path} does not exist`);
      }
      // Such as EINVAL, if it is not a link.
      throw corrupt(path, "is not a symbolic link to a layer");
    }
    const id = /^\.\.\/([^/]+)\/diff$/.exec(text)?.[1];
    if (id === undefined || !isId(id) || id === LINKS) {
      throw corrupt(path, `points to ${quote(text)} instead of ../<id>/diff`);
    }
    return id;
  }

  /** The target of a link in `l/`, which is opened once if the home is held. */
  #readlink(path: ConfinedPath): string | number {
    const links = this.home.root.tryKeep(LINKS);
    if (links === undefined || links < 0) return tryReadlink(path);
    const target = tryReadlinkat(links, entryName(path.name));
    return typeof target === "number" ? target : decode(target);
  }

  /**
   * The ids of the layers below a layer, its parent first.
   *
   * @throws {VeneerError} `corrupt store` if a link does not lead to a layer, or if that layer's
   * files are missing
   */
  ancestors(id: string): string[] {
    return this.home.root.hold(() => {
      const ancestors = this.lowers(id).map((entry) => this.resolve(entry, id));
      if (ancestors.includes(id)) throw this.#ownAncestor(id);
      const gone = ancestors.find((ancestor) => !isDirectory(this.diff(ancestor)));
      if (gone === undefined) return ancestors;
      throw corrupt(this.lower(id), `names layer ${gone}, and ${this.diff(gone)} does not exist`);
    });
  }

  /**
   * The parent's id; `""` for a base layer, `undefined` for a half-removed layer without records.
   */
  parent(id: string): string | undefined {
    return this.home.root.hold(() => {
      const [entry] = this.lowers(id);
      if (entry !== undefined) return this.resolve(entry, id);
      return exists(this.#link(id)) ? "" : undefined;
    });
  }

  #ownAncestor(id: string): VeneerError {
    return corrupt(this.lower(id), `makes layer ${id} one of its own ancestors; remove the layer`);
  }

  #link(id: string): ConfinedPath {
    return this.layer(id).join("link");
  }

  /** @throws {VeneerError} `corrupt store` if the directory of the layer's files is missing */
  requireDiff(id: string): void {
    const path = this.diff(id);
    if (isDirectory(path)) return;
    const what = exists(path) ? "is not a directory" : "is missing";
    throw corrupt(path, `${what}; remove layer ${id} and create it again`);
  }

  /** The target of a link in `l/`; `undefined` if it is missing or not a link. */
  linkTarget(name: string): string | undefined {
    const path = this.links().join(name);
    const target = tryReadlink(path);
    if (typeof target !== "number") return target;
    if (target === -ENOENT || target === -ENOTDIR || target === -EINVAL) return undefined;
    unwrapConfined(target, "readlink", path);
    return undefined;
  }

  /**
   * The names of the links in `l/` that lead to a layer. There are several only if the store is
   * damaged.
   *
   * This reads all links, so it is only for layers whose own record of the name is damaged.
   */
  linksTo(id: string): string[] {
    const target = linkTarget(id);
    return list(this.links()).filter((name) =>
      isLinkName(name) && this.linkTarget(name) === target
    );
  }
}

/** Whether a text could be an entry of a `lower` file. */
export const isEntry = (text: string): boolean => ENTRY.test(text);

/** Whether a text could be the name of a link. */
export const isLinkName = (text: string): boolean => NAME.test(text);

/** @throws {VeneerError} `corrupt store` if a directory that overlay works in is missing */
export function requireWork(path: ConfinedPath): void {
  if (isDirectory(path)) return;
  const what = exists(path) ? "is not a directory; replace it by" : "is missing; make";
  throw corrupt(path, `${what} an empty directory of the layer's root`);
}

function corrupt(path: ConfinedPath, what: string): VeneerError {
  return new VeneerError("corrupt store", `${path} ${what}`);
}

const quote = (text: string) => JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
