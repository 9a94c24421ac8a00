/**
 * A Docker root as the target of a migration: layers of another driver, the records of images for
 * it, and the containers that are said to be its.
 *
 * ```text
 * image/<new driver>/                    a copy of image/<old driver>, with the file
 * image/<new driver>/veneer-migrated     which names the old one, until the old one is removed
 * containers/<id>/config.v2.json         its "Driver" is the new one; the file as it was is beside it:
 * containers/<id>/config.v2.json.<old>
 * ```
 *
 * The copy is made under another name and renamed when all layers are there; after that containers
 * follow one by one. Killed in between, the next run does what is left.
 *
 * @module
 */
import { basename } from "@std/path";
import { fsync, O_DIRECTORY, O_RDONLY, reopen, syncfs, withFd } from "../../ffi/files.ts";
import { RENAME_NOREPLACE } from "../../ffi/names.ts";
import { messageOf, VeneerError } from "../base/errors.ts";
import { IDENTITY, type IdMaps } from "../base/id_maps.ts";
import { isDockerId } from "../base/ids.ts";
import type { Warn } from "../base/warn.ts";
import type { Graph } from "../graph/graph.ts";
import { JsonFields, parseJson } from "../images/json.ts";
import type { Bytes } from "../services/bytes.ts";
import { dockerOn } from "../store/dockerd.ts";
import { readMetadata, readWhole, writeMetadata } from "../store/metadata.ts";
import { applyTar } from "../tar/apply/apply.ts";
import {
  type ConfinedPath,
  ConfinedRoot,
  exists,
  isDirectory,
  list,
  makeDirectory,
  openDirectory,
  openWithoutLinks,
  removeTree,
  rename,
} from "../tree/confined.ts";
import { type Call, type DockerState, sendResult } from "./calls.ts";
import { withText } from "./docker_config.ts";
import { LayerTarget } from "./target.ts";

/** The file in `image/<driver>` that names the driver it was copied from. */
const MARK = "veneer-migrated";

/** The name of the copy until it is whole; no driver has it. */
const NEW = ".veneer-new";

const CONFIG = "config.v2.json";

/** The parts of a Docker root that a migration writes. */
export class DockerRoot {
  readonly #root: ConfinedRoot;

  /** @param driver the new one's name for Docker */
  constructor(readonly path: string, readonly driver: string) {
    const fd = openWithoutLinks(path, O_RDONLY | O_DIRECTORY);
    this.#root = withFd(fd, (fd) => ConfinedRoot.of(path, fd));
  }

  #join(...parts: string[]): ConfinedPath {
    return this.#root.join(...parts);
  }

  /** @throws {VeneerError} `in use` if a daemon runs on the root, or left mounts of layers */
  requireIdle(oldDriver: string): void {
    const home = `${this.path}/${oldDriver}`;
    const dockerd = dockerOn({ root: this.path, home, isRecorded: () => false });
    if (dockerd !== undefined) {
      throw new VeneerError("in use", `${dockerd} runs on ${this.path}: stop it first`);
    }
  }

  /** What there is of the new driver. */
  state(): DockerState {
    const records = this.#join("image", this.driver);
    if (!exists(records)) return { records: "none" };
    const from = readMetadata(records.join(MARK));
    return from === undefined ? { records: "another's" } : { records: "migrated", from };
  }

  /**
   * Makes the records of the new driver from a tar of the old one's.
   *
   * @param leftOut paths in them of the layers and containers that were not migrated
   */
  install(input: number, from: string, leftOut: readonly string[], warn: Warn): void {
    this.requireIdle(from);
    const made = this.#join("image", NEW), place = this.#join("image", this.driver);
    removeTree(made);
    makeDirectory(made, 0o700);
    withFd(openDirectory(made), (fd) => {
      withFd(reopen(fd, O_RDONLY | O_DIRECTORY), (directory) => {
        applyTar(input, directory, { whiteouts: "none", idMaps: IDENTITY, warn });
        for (const path of leftOut) removeTree(made.join(...path.split("/")));
        writeMetadata(made.join(MARK), from);
        syncfs(directory, made.text);
      });
    });
    rename(made, place, RENAME_NOREPLACE);
    this.#syncDirectory(this.#join("image"));
  }

  #syncDirectory(path: ConfinedPath): void {
    withFd(
      openDirectory(path),
      (fd) =>
        withFd(reopen(fd, O_RDONLY | O_DIRECTORY), (directory) => fsync(directory, path.text)),
    );
  }

  /** The ids of containers of a driver. One whose record is damaged is a warning. */
  containersOf(driver: string, warn: Warn): string[] {
    const directory = this.#join("containers");
    if (!isDirectory(directory)) return [];
    return list(directory).filter(isDockerId).filter((id) => {
      try {
        return this.#driverOf(id) === driver;
      } catch (error) {
        warn(`container ${id} is left as it is: ${messageOf(error)}`);
        return false;
      }
    });
  }

  #config(id: string): ConfinedPath {
    return this.#join("containers", id, CONFIG);
  }

  #driverOf(id: string): string | undefined {
    const path = this.#config(id), text = readWhole(path);
    if (text === undefined) throw new VeneerError("corrupt store", `${path} is missing`);
    return new JsonFields(parseJson(new TextEncoder().encode(text), path.text), path.text)
      .text("Driver");
  }

  /**
   * Says of the containers of the old driver that they are the new one's, if their layers were
   * migrated; returns their ids. The old record is kept beside.
   */
  takeContainers(from: string, warn: Warn): string[] {
    this.requireIdle(from);
    const mounts = this.#join("image", this.driver, "layerdb/mounts");
    const moved: string[] = [];
    for (const id of this.containersOf(from, warn)) {
      if (!exists(mounts.join(id))) continue;
      const path = this.#config(id), old = readWhole(path)!;
      try {
        const changed = withText(old, "Driver", this.driver, path.text);
        writeMetadata(path.withSuffix(`.${from}`), old);
        writeMetadata(path, changed);
        moved.push(id);
      } catch (error) {
        warn(`container ${id} is left as it is: ${messageOf(error)}`);
      }
    }
    return moved;
  }

  /** Ends a migration: removes the old driver's records and what was kept beside new ones. */
  finish(from: string): void {
    for (const id of this.containersOf(this.driver, () => {})) {
      removeTree(this.#config(id).withSuffix(`.${from}`));
    }
    removeTree(this.#join("image", from));
    removeTree(this.#join("image", this.driver, MARK));
    this.#syncDirectory(this.#join("image", this.driver));
  }

  /** Removes the old driver's home, whose layers are gone or plain directories. */
  removeHome(driver: string): void {
    removeTree(this.#join(driver));
  }
}

/** Layers of a new driver below a Docker root, and the root's records. */
export class DockerTarget extends LayerTarget {
  /** Docker's own files in a container's first layer may be of a user that its maps do not have. */
  protected override readonly hostIds = true;

  constructor(graph: Graph, idMaps: IdMaps, readonly records: DockerRoot, warn: Warn) {
    super(graph, idMaps, warn);
  }

  override perform(call: Call, emit: (bytes: Bytes) => void): void {
    const { records, warn } = this;
    switch (call.kind) {
      case "docker state":
        return sendResult(emit, records.state());
      case "keep records":
        return withFd(
          call.input,
          (fd) => records.install(fd, basename(call.from), call.leftOut, warn),
        );
      case "take containers":
        return sendResult(emit, records.takeContainers(call.from, warn));
      default:
        super.perform(call, emit);
    }
  }
}
