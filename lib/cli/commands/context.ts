/**
 * The context of a command. Commands import no driver: their caller provides the functions that
 * open stores.
 *
 * @module
 */
import { join } from "@std/path";
import { VeneerError } from "../../base/errors.ts";
import type { DockerOptions } from "../../../drivers/docker_stores.ts";
import { AUTO, DEFAULT_ROOT } from "../../../drivers/names.ts";
import type { Driver } from "../../../drivers/registry.ts";
import { dockerOn } from "../../store/dockerd.ts";
import { openStoresDirectory } from "../../store/home.ts";
import type { GraphDriver } from "../../graph/driver.ts";
import { IdMap, type IdMaps } from "../../base/id_maps.ts";
import { layerNotFound, resolveId } from "../../base/ids.ts";
import type { Warn } from "../../base/warn.ts";
import type { MountInfo } from "../../mount/mountinfo.ts";
import { tryLstat } from "../../../ffi/stat.ts";
import type { Output } from "../output.ts";
import type { Options } from "../parse.ts";
import type { Template } from "../template.ts";
import { checkRoot } from "../surroundings.ts";
import { requireStore } from "../existing_store.ts";
import { serviceName, SERVICES } from "../service_name.ts";
import type { LanePort } from "../../services/lanes/protocol.ts";
import type { DockerStore } from "../../images/docker/store.ts";
import type { Images } from "../../images/images.ts";
import type { Snapshotter } from "../../snapshots/snapshotter.ts";

/** The description of a store from the command line. */
export interface StoreOptions {
  readonly root: string;
  readonly driver: string;
  readonly options: readonly string[];
  readonly idMaps: IdMaps;
  readonly warn: Warn;
}

/** The lanes of the ends of a migration. */
export interface MigrationLanes {
  /** Starts a thread. */
  start(): LanePort;
  /** Uses the calling thread. */
  here(): Promise<LanePort>;
}

/** The drivers. Each is loaded when it is first needed. */
export interface Drivers {
  open(options: StoreOptions): Promise<GraphDriver>;
  openSnapshots(options: StoreOptions & { purpose: "change" | "read" }): Promise<Snapshotter>;
  openImages(
    options: StoreOptions & { purpose: "change" | "read"; isServed: boolean },
  ): Promise<Images>;
  openDocker(options: DockerOptions): Promise<DockerStore>;
  /** All drivers. */
  all(): Promise<readonly Driver[]>;
  /** The names of drivers with layers at a root. */
  layersAt(root: string): Promise<string[]>;
  /** The names of drivers with snapshots at a root. */
  snapshotsAt(root: string): Promise<string[]>;
  /** Returns a function that starts a thread with a store of snapshots, for a service. */
  laneStarter(): Promise<() => LanePort>;
  migrationLanes(): Promise<MigrationLanes>;
  /** Returns a function that starts a thread with a store of layers, for Docker. */
  dockerLaneStarter(): Promise<() => LanePort>;
}

/** The options, operands and store of a command. */
export class CommandContext {
  constructor(
    readonly output: Output,
    readonly options: Options,
    readonly operands: readonly string[],
    readonly drivers: Drivers,
  ) {}

  /** The directory of the stores. */
  get root(): string {
    const root = this.options.value("root") ?? DEFAULT_ROOT;
    if (root === "") throw new VeneerError("usage", 'option --root "": name a directory');
    checkRoot(root);
    return root;
  }

  /**
   * Opens the store that the options name.
   *
   * @throws {VeneerError} `failed precondition` if the user is not root, `not found` if there is no
   * store; also the errors of opening
   */
  open(): Promise<GraphDriver> {
    this.#requireLayers();
    return this.#open();
  }

  #requireLayers(): void {
    requireRoot();
    requireStore(this.root, "layers");
  }

  async #open(): Promise<GraphDriver> {
    const driver = await this.drivers.open(this.#storeOptions());
    this.output.info(`opened ${driver.home} with ${driver.name}`);
    return driver;
  }

  /**
   * Opens the store for a command that changes layers. If Docker's daemon works on it, there is a
   * warning.
   */
  openToChange(): Promise<GraphDriver> {
    this.#requireLayers();
    return this.openToCreate();
  }

  /** Opens the store for a command that makes it if it is missing. */
  async openToCreate(): Promise<GraphDriver> {
    const driver = await this.#open();
    const { root } = this, { home } = driver;
    const own = () =>
      driver.layers().filter(({ references }) => references > 0).map((layer) => layer.mountPoint);
    const isRecorded = ({ mountPoint }: MountInfo) => own().includes(mountPoint);
    const dockerd = dockerOn({ root, home, isRecorded });
    if (dockerd !== undefined) this.output.warn(`${dockerd} runs on this store`);
    return driver;
  }

  /**
   * Opens the store's snapshots, to change them, while `use` runs.
   *
   * @throws as {@linkcode open}, `in use` if a service holds the store; also the errors of `use`
   */
  changeSnapshots<T>(use: (snapshotter: Snapshotter) => T | Promise<T>): Promise<T> {
    return this.#withSnapshots("change", use);
  }

  /** Like {@linkcode changeSnapshots}, but makes the store if it is missing. */
  createSnapshots<T>(use: (snapshotter: Snapshotter) => T): Promise<T> {
    return this.#withSnapshots("change", use, { isMade: true });
  }

  /** Opens the store's snapshots only for reading, even while a service holds the store. */
  readSnapshots<T>(use: (snapshotter: Snapshotter) => T): Promise<T> {
    return this.#withSnapshots("read", use);
  }

  async #withSnapshots<T>(
    purpose: "change" | "read",
    use: (snapshotter: Snapshotter) => T | Promise<T>,
    { isMade = false } = {},
  ): Promise<T> {
    const options = this.#snapshotOptions("snapshots", isMade);
    using snapshotter = await this.drivers.openSnapshots({ ...options, purpose });
    this.output.info(`opened ${snapshotter.home} with ${snapshotter.name}`);
    return await use(snapshotter);
  }

  /**
   * Opens the store's images, to change them, while `use` runs.
   *
   * @throws as {@linkcode changeSnapshots}
   */
  changeImages<T>(use: (images: Images) => T | Promise<T>): Promise<T> {
    return this.#withImages("change", use);
  }

  /** Like {@linkcode changeImages}, but makes the store if it is missing. */
  createImages<T>(use: (images: Images) => T): Promise<T> {
    return this.#withImages("change", use, { isMade: true });
  }

  /** Opens the store's images only for reading, even while a service holds the store. */
  readImages<T>(use: (images: Images) => T): Promise<T> {
    return this.#withImages("read", use);
  }

  async #withImages<T>(
    purpose: "change" | "read",
    use: (images: Images) => T | Promise<T>,
    { isMade = false } = {},
  ): Promise<T> {
    const options = isMade ? this.#optionsToPreload() : this.#snapshotOptions("images");
    const isServed = this.options.value("service") !== undefined;
    using images = await this.drivers.openImages({ ...options, purpose, isServed });
    const { home, name } = images.snapshots;
    this.output.info(`opened ${home} with ${name}`);
    return await use(images);
  }

  /**
   * Opens the store of `--docker`, to read it, while `use` runs.
   *
   * @param isDriverOurs whether `--driver` is the driver of Veneer's own store instead, and
   * `--docker-driver` Docker's
   * @throws {VeneerError} `usage` if `--docker` is missing; also the errors of opening and of `use`
   */
  async readDocker<T>(
    use: (store: DockerStore) => T | Promise<T>,
    { isDriverOurs = false } = {},
  ): Promise<T> {
    requireRoot();
    const directory = this.options.value("docker") ?? "";
    if (directory === "") {
      throw new VeneerError("usage", "name Docker's directory: --docker /var/lib/docker");
    }
    if (tryLstat(directory) === undefined) {
      throw new VeneerError("not found", `there is no store of Docker's at ${directory}`);
    }
    const driver = this.options.value(isDriverOurs ? "docker-driver" : "driver");
    using store = await this.drivers.openDocker({
      root: Deno.realPathSync(directory),
      driver: driver === AUTO ? undefined : driver,
      pool: this.options.value("docker-pool"),
    });
    return await use(store);
  }

  /** @throws {VeneerError} `usage` for an option that belongs to `--docker`, without that */
  checkDockerOptions(): void {
    if (this.options.value("docker") !== undefined) return;
    const given = ["docker-driver", "docker-pool"].find((name) =>
      this.options.value(name) !== undefined
    );
    if (given === undefined) return;
    throw new VeneerError("usage", `--${given} is for --docker DIR: give that, too`);
  }

  /** The directory of the stores of snapshots: a service's directory if `--service` names one. */
  get rootOfSnapshots(): string {
    return rootOfSnapshots(this.root, this.options.value("service"));
  }

  /** The options for a store that may be missing, even that of a service that never ran. */
  #optionsToPreload(): StoreOptions {
    const options = this.#storeOptions(), service = this.options.value("service");
    if (service === undefined) return options;
    const name = serviceName(service, "service");
    return { ...options, root: openStoresDirectory(this.root, [SERVICES, name], this.idMaps) };
  }

  #snapshotOptions(sought: "snapshots" | "images", isMade = false): StoreOptions {
    const options = this.#storeOptions();
    const root = this.rootOfSnapshots;
    if (!isMade) requireStore(root, "snapshots", sought);
    return { ...options, root };
  }

  /**
   * The template of `--format` for the lines of a list, if it is given.
   *
   * @param fields the names of its fields
   * @throws {VeneerError} `usage`
   */
  async template(fields: readonly string[]): Promise<Template | undefined> {
    const template = this.options.value("format");
    if (template === undefined) return undefined;
    if (this.output.json) throw new VeneerError("usage", "give either --format or --json");
    return (await import("../template.ts")).parseTemplate(template, fields);
  }

  /** The id maps of the options. */
  get idMaps(): IdMaps {
    return {
      uids: IdMap.parse(this.options.values("uidmap")),
      gids: IdMap.parse(this.options.values("gidmap")),
    };
  }

  #storeOptions(): StoreOptions {
    const { root, idMaps } = this;
    requireRoot();
    return {
      root,
      driver: this.options.value("driver") ?? AUTO,
      options: this.options.values("option"),
      idMaps,
      warn: (message, remedy) => this.output.warn(message, remedy),
    };
  }

  /**
   * The layer that the first operand names, by its complete id or by a unique prefix. With
   * `--json`, for scripts, the id must be complete: a prefix that is unique today may not be unique
   * tomorrow.
   */
  layerId(driver: GraphDriver): string {
    return this.#resolve(driver, this.operands[0]);
  }

  /**
   * The layer that the first operand names by its complete id: for commands after which the layer
   * can be written to.
   */
  wholeId(driver: GraphDriver): string {
    const [id] = this.operands;
    if (!driver.exists(id)) throw layerNotFound(id);
    return id;
  }

  /**
   * The layer that `--parent` names, by id or prefix; `""` for none, `undefined` for the recorded
   * parent.
   */
  parentId(driver: GraphDriver): string | undefined {
    const parent = this.options.value("parent");
    return parent ? this.#resolve(driver, parent) : parent;
  }

  #resolve(driver: GraphDriver, text: string): string {
    if (driver.exists(text)) return text;
    if (this.output.json) throw layerNotFound(text);
    return resolveId(text, driver.layers().map(({ id }) => id));
  }
}

/** A command. It returns its exit status if that is not 0 and there is no error for it. */
export type Run = (context: CommandContext) => void | number | Promise<void | number>;

/** @throws {VeneerError} `failed precondition` if this process does not run as root */
export function requireRoot(): void {
  const uid = Deno.uid();
  if (uid === 0) return;
  throw new VeneerError(
    "failed precondition",
    `veneer must run as root, and this user's id is ${uid}: layers keep owners and are mounted; use sudo`,
  );
}

/**
 * The directory of a store of snapshots: `root`, or a service's directory below it.
 *
 * @throws {VeneerError} `not found` if the service does not exist
 */
function rootOfSnapshots(root: string, service: string | undefined): string {
  if (service === undefined) return root;
  const directory = join(root, SERVICES, serviceName(service, "service"));
  if (tryLstat(directory)?.isDirectory) return directory;
  throw new VeneerError("not found", `there is no store of service ${service} at ${directory}`, {
    remedy: { kind: "other root" },
  });
}
