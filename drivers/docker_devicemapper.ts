/**
 * The layers of a Docker store on devicemapper: each is the file system of a thin device.
 *
 * ```text
 * <home>/devicemapper/{data,metadata}     the pool's files, if it is not on devices
 * <home>/metadata/<id>                    the record of a layer's device
 * ```
 *
 * @module
 */
import { close } from "../ffi/files.ts";
import { deviceInfo, DM_NAME_LEN } from "../ffi/devmapper.ts";
import { fstat, tryLstat } from "../ffi/stat.ts";
import { VeneerError } from "../lib/base/errors.ts";
import type { FrozenDirectory } from "../lib/images/docker/frozen.ts";
import type { DockerTrees } from "../lib/images/docker/trees.ts";
import {
  ActivePool,
  type FrozenPool,
  type PoolFile,
  PoolOfFiles,
} from "./devicemapper/frozen_pool.ts";
import { isRecordName } from "./devicemapper/names.ts";
import { parseDeviceRecord } from "./devicemapper/records.ts";
import { checkSnapshotSupport } from "./devicemapper/support.ts";

/** The directory for the kernel's writes. */
const TEMPORARY = "/var/tmp";

/** The trees of a home. This object closes the home. */
export class DeviceMapperTrees implements DockerTrees {
  readonly form = "none";
  readonly #pool: FrozenPool;

  /**
   * @param pool the name of the pool's device, or its path, if it is on devices
   * @throws {VeneerError} `not supported` if device-mapper is missing; `not found` if the pool is;
   * `in use` if the pool of files, or a device of the other, is active
   */
  constructor(readonly home: FrozenDirectory, pool?: string) {
    using scope = new DisposableStack();
    scope.use(home);
    const lacks = checkSnapshotSupport();
    if (lacks !== undefined) throw lacks;
    const temporary = Deno.env.get("TMPDIR") || TEMPORARY;
    if (pool === undefined) {
      requireIdle(home.path);
      using files = new DisposableStack();
      const [metadata, data] = ["metadata", "data"].map((name) => openFile(home, name, files));
      this.#pool = new PoolOfFiles(metadata, data, temporary);
    } else {
      this.#pool = new ActivePool(deviceName(pool), temporary);
    }
    scope.move();
  }

  open(id: string, scope: DisposableStack): number {
    const path = `metadata/${id}`, what = `${this.home.path}/${path}`;
    const text = isRecordName(id) ? this.home.text(path) : undefined;
    if (text === undefined) {
      throw new VeneerError("corrupt store", `${what} is missing: its layer is damaged`);
    }
    const record = parseDeviceRecord(text, what);
    if (!record.deleted) return this.#pool.mount(record, `layer ${id}`, scope);
    throw new VeneerError("corrupt store", `${what}: the layer was being deleted`);
  }

  whole([id]: readonly string[], scope: DisposableStack): number {
    return this.open(id, scope);
  }

  [Symbol.dispose](): void {
    this.#pool[Symbol.dispose]();
    this.home[Symbol.dispose]();
  }
}

/** @throws {VeneerError} `invalid argument` if it cannot be the name of a device */
function deviceName(pool: string): string {
  const name = pool.replace(/^\/dev\/mapper\//, "");
  if (name !== "" && name.length < DM_NAME_LEN && !/[/\0]/.test(name)) return name;
  throw new VeneerError(
    "invalid argument",
    `pool ${JSON.stringify(pool.slice(0, 200))}: write its name, as \`dmsetup ls\` shows it`,
  );
}

/** @throws {VeneerError} `in use` if the pool of a home is active */
function requireIdle(home: string): void {
  const stat = tryLstat(home);
  if (stat === undefined) return;
  const pool = `docker-${stat.devMajor}:${stat.devMinor}-${stat.inode}-pool`;
  if (deviceInfo(pool) === undefined) return;
  throw new VeneerError("in use", `the pool ${pool} of ${home} is active: end what uses it first`);
}

function openFile(home: FrozenDirectory, name: string, scope: DisposableStack): PoolFile {
  const path = `devicemapper/${name}`, fd = home.open(path);
  if (fd === undefined) {
    throw new VeneerError(
      "not found",
      `${home.path}/${path} is missing: the pool is on devices`,
      { remedy: { kind: "docker pool" } },
    );
  }
  scope.adopt(fd, close);
  if (fstat(fd).isFile) return { fd, path: `${home.path}/${path}` };
  throw new VeneerError("corrupt store", `${home.path}/${path} is not a file`);
}
