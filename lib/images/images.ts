/**
 * The images of a store of snapshots. Their layers are committed snapshots; the other parts are in
 * the database.
 *
 * Images are imported, made and removed under one lock. A failed or killed import may leave a layer
 * without an image or a child; the next of these operations removes it.
 *
 * @module
 */
import { writeAll } from "../../ffi/files.ts";
import { codeOf, messageOf, VeneerError } from "../base/errors.ts";
import { IDENTITY } from "../base/id_maps.ts";
import type { Inflater } from "../base/inflater.ts";
import { DEFAULT_RECORD, type RecordKind } from "../graph/content_format.ts";
import type { Warn } from "../base/warn.ts";
import { shown } from "../snapshots/keys.ts";
import type { Snapshots } from "../snapshots/snapshots.ts";
import { storeHome } from "../snapshots/store_home.ts";
import type { Home } from "../store/home.ts";
import type { RunState } from "../store/run_state.ts";
import type { DecompressOptions } from "../tar/read/decompress.ts";
import { bareImage, diffIdsOf, isChainId } from "./chain.ts";
import { commitImage, type CommitImageOptions } from "./commit.ts";
import type { Exported, ExportOptions, WrittenImage } from "./export.ts";
import { openStaged, Spool } from "./spool.ts";
import { storedTars } from "./stored_tars.ts";
import { exportImage } from "./write_image.ts";
import { parseConfig } from "./config.ts";
import { findImages } from "./find.ts";
import type { FoundImage } from "./found_image.ts";
import { putTar } from "./layer_tars.ts";
import { type ChooseLayer, chosen, spooled } from "./layer_tar.ts";
import { openSource } from "./open_source.ts";
import { HOST, type Platform } from "./platform.ts";
import { DIFF_ID, type ImageRecord, ImageRecords } from "./records.ts";
import { TarRecords } from "./tar_records.ts";
import { familiar, normalise, tryNormalise } from "./reference.ts";
import { sweepTemporary, type TemporaryKey, temporaryKey, type TemporaryUse } from "./temporary.ts";
import { tryStat } from "./try_stat.ts";
import { unpack, type UnpackReport } from "./unpack.ts";

/** The options of an import. */
export interface ImportOptions {
  /** The image's name, instead of the names in the source; for a source with one image. */
  readonly name?: string;
  /** The host's by default. */
  readonly platform?: Platform;
  /** Whether the images of all platforms are imported. */
  readonly all?: boolean;
  /** Whether tars are allowed that expand more than a thousandfold when they are decompressed. */
  readonly allowExpansion?: boolean;
  readonly report?: UnpackReport;
}

/** An image and its names, as people write them. */
export interface NamedImage {
  readonly id: string;
  readonly names: readonly string[];
}

/** An imported image. */
export interface Imported {
  readonly id: string;
  /** All its names, as people write them. */
  readonly names: readonly string[];
  readonly layers: number;
  /** The number of layers that were new. */
  readonly unpacked: number;
}

/** An image of the store. */
export interface ImageInfo extends ImageRecord {
  /** Complete names, sorted. */
  readonly names: readonly string[];
}

/** What was removed with an image or a name of it. */
export interface RemovedImage {
  readonly names: readonly string[];
  /** `undefined` if it has other names. */
  readonly id: string | undefined;
  readonly layers: readonly string[];
  /** The image's layers that stay, the uppermost first. */
  readonly kept: readonly string[];
  /** The user of the uppermost layer that stays. */
  readonly user: string | undefined;
}

/** A mounted snapshot of an image. */
export interface MountedImage {
  readonly id: string;
  readonly key: string;
  readonly path: string;
}

const NO_REPORT: UnpackReport = { layer: () => undefined };

/** The images of one store. */
export class Images implements Disposable {
  readonly #home: Home;
  readonly #state: RunState;
  readonly #records: ImageRecords;
  readonly #tars: TarRecords;

  /**
   * @param snapshots the open store; this object closes it
   * @param isServed whether a service offers the layers to containerd: see `offer.ts`
   * @param content the facts about their files that an import of layers records
   * @param inflater what decompresses layers
   */
  constructor(
    readonly snapshots: Snapshots,
    readonly warn: Warn,
    readonly isServed: boolean = false,
    readonly content: RecordKind = DEFAULT_RECORD,
    readonly inflater: Inflater = "auto",
  ) {
    const { home, state } = storeHome(snapshots.home, IDENTITY);
    this.#home = home;
    this.#state = state;
    this.#tars = new TarRecords(home);
    this.#records = new ImageRecords(snapshots.database);
  }

  [Symbol.dispose](): void {
    this.snapshots.close();
  }

  /** Removes the temporary snapshots of killed commands; see `temporary.ts`. */
  sweepTemporary(): void {
    sweepTemporary(this.#records.temporary(), this.snapshots, this.#state, this.warn);
  }

  /** Returns a key for a snapshot that exists no longer than this process. */
  temporaryKey(use: TemporaryUse): TemporaryKey {
    return temporaryKey(this.#state, use);
  }

  #lock(): Disposable {
    return this.#state.lockNamed("images", "the images");
  }

  /**
   * Imports the images of a directory or tar: all of them or none.
   *
   * @param path the path of an OCI layout or a docker archive; `-` for standard input
   * @throws {VeneerError} `invalid argument` if one is invalid; then nothing is changed
   */
  import(path: string, options: ImportOptions = {}): Imported[] {
    const { platform = HOST, all = false, allowExpansion = false } = options;
    using source = openSource(path, this.#home, this.#how(allowExpansion));
    return this.importFound(findImages(source, { platform, all }), source.name, options);
  }

  #how(allowExpansion: boolean): DecompressOptions {
    return { isBounded: !allowExpansion, inflater: this.inflater };
  }

  /** Opens an empty file without a name on the store's disk; the caller closes it. */
  openSpool(): number {
    return openStaged(this.#home);
  }

  /**
   * Imports images that were found in a source.
   *
   * @param source the source's name in messages
   */
  importFound(
    found: FoundImage[],
    source: string,
    { name, report = NO_REPORT, allowExpansion = false }: Pick<
      ImportOptions,
      "name" | "report" | "allowExpansion"
    > = {},
  ): Imported[] {
    const images = named(found, name === undefined ? undefined : normalise(name), source);
    const context = {
      snapshotter: this.snapshots,
      home: this.#home,
      content: this.content,
      records: this.#tars,
      report,
      how: this.#how(allowExpansion),
      isOffered: this.isServed,
    };
    using _lock = this.#lock();
    try {
      const unpacked = images.map((image) => unpack(image, context));
      this.#records.add(images.map(({ config, manifest, names }) => ({
        id: config.id,
        config: config.bytes,
        manifest: manifest ?? null,
        snapshot: config.chains.at(-1) ?? null,
        names,
      })));
      return images.map(({ config: { id }, layers }, i) => ({
        id,
        names: this.#records.namesOf(id).map(familiar),
        layers: layers.length,
        unpacked: unpacked[i],
      }));
    } finally {
      this.#sweep();
    }
  }

  /**
   * Removes layers without an image or a child; returns their names. A failure is a warning. Layers
   * that containerd has adopted stay: its collector removes them.
   */
  #sweep(): string[] {
    const removed: string[] = [], failed = new Set<string>();
    for (;;) {
      const [chain] = this.#records.unused(this.isServed).filter((name) => !failed.has(name));
      if (chain === undefined) break;
      try {
        this.snapshots.remove(chain);
        removed.push(chain);
      } catch (error) {
        failed.add(chain);
        this.warn(`layer ${chain} was not removed: ${messageOf(error)}`);
      }
    }
    this.#tars.sweep(this.#records.diffIds());
    return removed;
  }

  /** All images, the newest first. */
  list(): ImageInfo[] {
    return this.#records.all().map((record) => this.#info(record));
  }

  #info(record: ImageRecord): ImageInfo {
    return { ...record, names: this.#records.namesOf(record.id) };
  }

  /**
   * The image with a name, an id, or an unambiguous beginning of an id.
   *
   * @throws {VeneerError} `not found`
   */
  find(text: string): ImageInfo {
    const id = this.#tryName(text) ?? this.#tryId(text);
    if (id !== undefined) return this.#info(this.#records.find(id)!);
    throw new VeneerError(
      "not found",
      `image ${JSON.stringify(text.slice(0, 200))} does not exist`,
      {
        remedy: { kind: "list", of: "images" },
      },
    );
  }

  #tryName(text: string): string | undefined {
    const name = tryNormalise(text);
    return name === undefined ? undefined : this.#records.named(name);
  }

  #tryId(text: string): string | undefined {
    if (!/^(?:sha256:)?[0-9a-f]{4,64}$/.test(text)) return undefined;
    const found = this.#records.beginningWith(text.startsWith("sha256:") ? text : `sha256:${text}`);
    if (found.length <= 1) return found[0];
    throw new VeneerError(
      "invalid argument",
      `image ${text}: several ids begin so; write more of it`,
    );
  }

  /**
   * Mounts a snapshot of an image. If the snapshot is missing, it is made.
   *
   * @param key the snapshot's key; by default the image's name, or its id
   * @param kind `view` for a read-only snapshot
   * @throws {VeneerError} `already exists` if another snapshot has the key
   */
  mount(text: string, key: string | undefined, kind: "active" | "view"): MountedImage {
    const image = this.find(text), parent = image.snapshot ?? "";
    const { snapshots } = this, own = key ?? this.#keyOf(text, image);
    const before = tryStat(snapshots, own);
    if (before === undefined) snapshots[kind === "view" ? "view" : "prepare"](own, parent);
    else if (before.parent !== parent || before.kind !== kind) {
      throw new VeneerError(
        "already exists",
        `snapshot ${shown(own)} exists and is not ${
          kind === "view" ? "a view" : "an active one"
        } ` +
          "of this image; choose another key",
      );
    }
    return { id: image.id, key: own, path: snapshots.mount(own) };
  }

  /** Unmounts the snapshot with a key, or the one that was made for an image by default. */
  unmount(text: string): { key: string; path: string } {
    const isKey = tryStat(this.snapshots, text) !== undefined;
    const key = isKey ? text : this.#keyOf(text, this.find(text));
    return { key, path: this.snapshots.unmount(key) };
  }

  #keyOf(text: string, { id }: ImageInfo): string {
    return this.#tryName(text) === undefined ? id : familiar(normalise(text));
  }

  /** Gives an image a name. If another image has it, that image loses it. */
  tag(text: string, name: string): { id: string; name: string } {
    using _lock = this.#lock();
    const { id } = this.find(text), whole = normalise(name);
    this.#records.setName(whole, id);
    return { id, name: familiar(whole) };
  }

  /**
   * Exports an image, or the layers of a chain id. The layers' tars are those that were imported,
   * byte for byte. This is verified before anything is written.
   *
   * @throws {VeneerError} `failed precondition` if a layer has no record of its tar, `corrupt
   * store` with the first file of a layer that has changed since its import
   */
  async export(text: string, options: ExportOptions): Promise<Exported> {
    const image = this.#written(text, options.time);
    const openSpool = () => this.openSpool();
    using spool = new Spool(openSpool());
    const tars = storedTars(this.snapshots, this.#state, this.#tars);
    return await exportImage(image, { tars, spool, openSpool }, options);
  }

  /**
   * Writes the tar of a layer of an image to a file without a name, and verifies it.
   *
   * @returns the file, open at its start; the caller closes it
   * @throws {VeneerError} `not found` if the image does not have the layer; also as
   * {@linkcode export}
   */
  layerTar(text: string, choose: ChooseLayer): number {
    const { id, config } = this.find(text), { chains, diffIds } = parseConfig(config, id);
    const index = chosen(choose, { chains, diffIds }, `image ${text}`);
    const layer = { chain: chains[index], diffId: diffIds[index] };
    const tars = storedTars(this.snapshots, this.#state, this.#tars);
    return spooled(this.#home, (fd) => putTar(tars, layer, (bytes) => writeAll(fd, bytes)));
  }

  /**
   * The image to export: with the name that is given, or with all for an id. For a chain id without
   * an image, one is made of the layers.
   */
  #written(text: string, time: number): WrittenImage {
    try {
      const image = this.find(text);
      return this.#tryName(text) === undefined ? image : { ...image, names: [normalise(text)] };
    } catch (error) {
      const isLayer = isChainId(text) && tryStat(this.snapshots, text)?.labels.has(DIFF_ID);
      if (codeOf(error) !== "not found" || !isLayer) throw error;
      const record = this.#records.on(text);
      return record === undefined
        ? bareImage(diffIdsOf(this.snapshots, text), time)
        : this.#info(record);
    }
  }

  /**
   * Makes an image of an active snapshot. This removes the snapshot's key.
   *
   * @throws {VeneerError} as `commitImage`
   */
  commit(key: string, name: string | undefined, options: CommitImageOptions): NamedImage {
    const whole = name === undefined ? [] : [normalise(name)];
    using _lock = this.#lock();
    try {
      const { snapshots } = this;
      const context = {
        snapshots,
        records: this.#tars,
        home: this.#home,
        isOffered: this.isServed,
      };
      const base = this.#records.on(snapshots.stat(key).parent);
      const image = commitImage(key, base, context, options);
      this.#records.add([{ ...image, names: whole }]);
      return { id: image.id, names: whole.map(familiar) };
    } finally {
      this.#sweep();
    }
  }

  /**
   * Removes a name of an image. With the last name, the image is removed, and its layers without
   * other users.
   *
   * @param text a name; or the id of an image that has at most one name, or any number if `force`
   * @throws {VeneerError} `not found`; `failed precondition` for the id of an image with several
   * names
   */
  remove(text: string, force = false): RemovedImage {
    using _lock = this.#lock();
    const { id, names, snapshot } = this.find(text);
    const isName = this.#tryName(text) !== undefined;
    if (isName && names.length > 1) {
      const name = normalise(text);
      this.#records.removeName(name);
      return { names: [familiar(name)], id: undefined, layers: [], kept: [], user: undefined };
    }
    if (!isName && names.length > 1 && !force) {
      throw new VeneerError(
        "failed precondition",
        `image ${id} has several names: ${
          names.map(familiar).join(", ")
        }; remove those, or force it`,
      );
    }
    const chain = snapshot === null ? [] : this.#records.chain(snapshot);
    this.#records.remove(id);
    const layers = this.#sweep(), kept = chain.filter((name) => !layers.includes(name));
    const user = kept.length === 0 ? undefined : this.#userOf(kept[0]);
    return { names: names.map(familiar), id, layers, kept, user };
  }

  /** The image, snapshot or engine that keeps a layer from being removed. */
  #userOf(layer: string): string | undefined {
    const image = this.#records.on(layer)?.id;
    if (image !== undefined) {
      const [name = image] = this.#records.namesOf(image).map(familiar);
      return `image ${name}`;
    }
    const child = this.#records.childOf(layer);
    if (child !== undefined) return `snapshot ${shown(child)}`;
    return this.isServed ? "containerd" : undefined;
  }
}

/** Gives a name to the only image, if a name is given. */
function named(images: FoundImage[], name: string | undefined, source: string): FoundImage[] {
  if (name === undefined) return images;
  if (images.length === 1) return [{ ...images[0], names: [name] }];
  throw new VeneerError(
    "invalid argument",
    `${source} holds ${images.length} images: one name fits one image; import them without a name, and name each then`,
  );
}
