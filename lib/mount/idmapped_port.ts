/**
 * A mount port whose mounts map ids: the files of a layer keep the ids of the image, and are seen,
 * and written, with others. So one layer serves containers of any map.
 *
 * A mount maps ids if the mount that it is made from does, and overlay's if those of its directories
 * do. So each is made in a mount namespace of its own, in which a mapped mount of the home lies over
 * the home; only the finished one is taken out, and put in its place. What a killed process has begun
 * ends with that namespace.
 *
 * @module
 */
import { SyscallError } from "../../ffi/errno.ts";
import { close, O_DIRECTORY, O_PATH, withFd } from "../../ffi/files.ts";
import { moveMount, tryCloneMount, tryMapIds, tryMoveMount } from "../../ffi/fsmount.ts";
import { mount, MS_BIND, MS_PRIVATE, MS_REC } from "../../ffi/mount.ts";
import {
  ID_MAP_MAX,
  inOwnMountNamespace,
  userNamespace,
  withFileIds,
} from "../../ffi/namespaces.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { fileSystemName, fstatfs } from "../../ffi/statfs.ts";
import { VeneerError } from "../base/errors.ts";
import { type IdMap, type IdMaps, MAX_RANGES } from "../base/id_maps.ts";
import { isKernelAtLeast } from "../base/kernel.ts";
import { openWithoutLinks } from "../tree/confined.ts";
import type { MountPort, MountStep } from "./plan.ts";
import { kernelMountPort } from "./port.ts";

/** A driver, as far as its mounts can be mapped. */
export interface Mappable {
  readonly name: string;
  readonly home: { readonly path: string };
  /**
   * Refuses mounts that map ids. Left out if the driver has none that could.
   *
   * @throws {VeneerError} `not supported` with what this kernel lacks
   */
  checkMapped?(): void;
}

/**
 * Refuses to map the ids of files that have host ids already.
 *
 * @param what the layer or snapshot, for the message
 * @param own the maps that it was made with
 * @throws {VeneerError} `failed precondition`
 */
export function refuseMappedTwice(what: string, { uids, gids }: IdMaps): void {
  if (uids.isIdentity && gids.isIdentity) return;
  throw new VeneerError(
    "failed precondition",
    `${what} was made with an id map, so that its files have host ids; mount it without another map`,
  );
}

/** Refuses kernels without such mounts. @throws {VeneerError} `not supported` */
function requireIdMapping(): void {
  if (isKernelAtLeast(5, 12)) return;
  throw new VeneerError(
    "not supported",
    `mounts map ids since Linux 5.12, and this is ${Deno.osRelease()}`,
  );
}

export class IdmappedPort implements MountPort, Disposable {
  readonly #home: string;
  readonly #maps: IdMaps;
  readonly #userNamespace: number;

  /**
   * Makes the user namespace that stands for the maps. To be called before locks are taken, which a
   * child of this process would hold for a moment.
   *
   * @throws {VeneerError} `invalid argument` for maps that the kernel would not take or that have no
   * id 0, `not supported` if the driver or this system cannot map ids
   */
  constructor(driver: Mappable, maps: IdMaps) {
    if (driver.checkMapped === undefined) {
      throw new VeneerError("not supported", `${driver.name} has no mounts that can map ids`);
    }
    requireIdMapping();
    driver.checkMapped();
    this.#home = driver.home.path;
    this.#maps = maps;
    const [uids, gids] = [linesOf(maps.uids), linesOf(maps.gids)];
    try {
      this.#userNamespace = userNamespace(uids, gids);
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      throw new VeneerError(
        "not supported",
        `this system does not give a user namespace with that id map: ${error.message}`,
        { cause: error },
      );
    }
  }

  mount(step: MountStep & { kind: "mount" | "append" }): void {
    if (step.kind === "append") return kernelMountPort.mount(step);
    const isOfHome = step.type === "overlay" || (step.flags & MS_BIND) !== 0;
    this.#make(step.target, isOfHome, () => kernelMountPort.mount(step));
  }

  fsmount(step: MountStep & { kind: "fsmount" }): void {
    this.#make(step.target, true, () => kernelMountPort.fsmount(step));
  }

  unmount(target: string, flags: number): void {
    kernelMountPort.unmount(target, flags);
  }

  /** @param isOfHome whether it is made of the home's directories, or else has files of its own */
  #make(target: string, isOfHome: boolean, make: () => void): void {
    const made = inOwnMountNamespace(() => {
      mount({ target: "/", flags: MS_REC | MS_PRIVATE });
      if (!isOfHome) {
        make();
        return this.#mapped(target);
      }
      withFd(this.#mapped(this.#home), (home) => moveMount(home, this.#home));
      const { uids, gids } = this.#maps;
      // Overlay makes directories as the one who mounts it, whose ids must be mapped.
      withFileIds(uids.root, gids.root, make);
      return cloneAt(target);
    });
    withFd(made, () => unwrap(tryMoveMount(made, target), "move_mount", target));
  }

  /** A mapped mount of a directory, attached nowhere. */
  #mapped(path: string): number {
    const fd = cloneAt(path);
    const result = tryMapIds(fd, this.#userNamespace);
    if (result >= 0) return fd;
    const type = fileSystemName(fstatfs(fd).type);
    close(fd);
    throw new VeneerError(
      "not supported",
      `${path} is on ${type}, whose mounts cannot map ids here: ${
        new SyscallError("mount_setattr", -result, path).code
      }`,
    );
  }

  [Symbol.dispose](): void {
    close(this.#userNamespace);
  }
}

/** A copy of the mount at a path, with that as its root, attached nowhere. */
function cloneAt(path: string): number {
  return withFd(
    openWithoutLinks(path, O_PATH | O_DIRECTORY),
    (fd) => unwrap(tryCloneMount(fd), "open_tree", path),
  );
}

/** A map as the kernel reads it. */
function linesOf(map: IdMap): string {
  map.root; // Must be mapped.
  const { ranges } = map;
  const text = ranges.map(({ container, host, size }) => `${container} ${host} ${size}\n`).join("");
  if (ranges.length > 0 && ranges.length <= MAX_RANGES && text.length <= ID_MAP_MAX) return text;
  throw new VeneerError(
    "invalid argument",
    ranges.length === 0
      ? "the id map has no ranges"
      : `the id map has ${ranges.length} ranges of ${text.length} bytes, and the kernel takes ` +
        `${MAX_RANGES} of ${ID_MAP_MAX}`,
  );
}
