/**
 * Device-mapper: virtual block devices made of targets, through libdevmapper.
 *
 * Sizes and offsets are in sectors of 512 bytes, as everywhere in device-mapper. Names of devices
 * are at most {@linkcode NAME_MAX} bytes. See `devmapper_task.ts` for udev, `devmapper_library.ts`
 * for threads.
 *
 * @module
 */
import { library } from "./devmapper_library.ts";
import { withLog, withoutSink } from "./devmapper_log.ts";
import {
  bytes,
  DM_DEVICE_CREATE,
  DM_DEVICE_INFO,
  DM_DEVICE_LIST,
  DM_DEVICE_LIST_VERSIONS,
  DM_DEVICE_MKNODES,
  DM_DEVICE_RELOAD,
  DM_DEVICE_REMOVE,
  DM_DEVICE_RESUME,
  DM_DEVICE_STATUS,
  DM_DEVICE_SUSPEND,
  DM_DEVICE_TABLE,
  DM_DEVICE_TARGET_MSG,
  DM_DEVICE_VERSION,
  Task,
} from "./devmapper_task.ts";
import { ENOENT, ENXIO, SyscallError } from "./errno.ts";
import { O_PATH, open, withFd } from "./files.ts";
import { fstat } from "./stat.ts";
import { layout, Struct } from "./struct.ts";
import { unwrap } from "./unwrap.ts";

/** `DM_NAME_LEN` of `linux/dm-ioctl.h`, its NUL included. */
export const DM_NAME_LEN = 128;

/**
 * The size of a sector in bytes, device-mapper's unit: `SECTOR_SIZE` of the kernel's
 * `linux/blk_types.h`.
 */
export const SECTOR_SIZE = 512;

/** `struct dm_info` of libdevmapper.h. */
export const DM_INFO = layout("struct dm_info", 48, {
  exists: ["i32", 0],
  suspended: ["i32", 4],
  live_table: ["i32", 8],
  inactive_table: ["i32", 12],
  open_count: ["i32", 16],
  event_nr: ["u32", 20],
  major: ["u32", 24],
  minor: ["u32", 28],
  read_only: ["i32", 32],
  target_count: ["i32", 36],
  deferred_remove: ["i32", 40],
  internal_suspend: ["i32", 44],
});

/** `struct dm_names` of libdevmapper.h; `next` is an offset from its own start, 0 in the last. */
export const DM_NAMES = layout("struct dm_names", 16, {
  dev: ["u64", 0],
  next: ["u32", 8],
  name: ["u8", 12],
});

/** `struct dm_versions` of libdevmapper.h. */
export const DM_VERSIONS = layout("struct dm_versions", 16, {
  next: ["u32", 0],
  version: ["u8", 4],
  name: ["u8", 16],
});

/**
 * A part of a device: the driver of device-mapper that provides it, and the driver's parameters.
 */
export interface Target {
  readonly start: number;
  readonly length: number;
  readonly type: string;
  /** In a table, the parts that it is made of; in a status, its state. */
  readonly parameters: string;
}

/** A device's state, as the kernel reports it. */
export interface DeviceInfo {
  readonly major: number;
  readonly minor: number;
  readonly openCount: number;
  readonly suspended: boolean;
  /** It can be read and written; false between its creation and its first resume. */
  readonly live: boolean;
  readonly readOnly: boolean;
  /** It is removed when its last user closes it. */
  readonly deferredRemove: boolean;
}

/** The library's version, such as `1.02.185 (2022-05-18)`. */
export function libraryVersion(): string {
  const buffer = new Uint8Array(128);
  library().dm_get_library_version(buffer, buffer.byteLength);
  return new TextDecoder().decode(buffer.subarray(0, buffer.indexOf(0)));
}

/** Whether the library can ask for the removal of a device when its last user closes it. */
export function canDeferRemoval(): boolean {
  return library().dm_task_deferred_remove !== null;
}

/** The version of the kernel's device-mapper interface, such as `4.47.0`. @throws {SyscallError} */
export function driverVersion(): string {
  using task = new Task(DM_DEVICE_VERSION).run();
  const buffer = new Uint8Array(128);
  library().dm_task_get_driver_version(task.pointer, buffer, buffer.byteLength);
  return new TextDecoder().decode(buffer.subarray(0, buffer.indexOf(0)));
}

/** The kinds of target that the kernel has loaded. */
export function targetTypes(): string[] {
  using task = new Task(DM_DEVICE_LIST_VERSIONS).run();
  const first = library().dm_task_get_versions(task.pointer);
  return first === null ? [] : [...chain(first, DM_VERSIONS.fields.next[1])]
    .map((view) => view.getCString(DM_VERSIONS.fields.name[1]));
}

/** Every device-mapper device of this machine. */
export function deviceNames(): { readonly name: string; readonly device: bigint }[] {
  using task = new Task(DM_DEVICE_LIST).run();
  const first = library().dm_task_get_names(task.pointer);
  if (first === null) return [];
  return [...chain(first, DM_NAMES.fields.next[1])]
    .map((view) => ({
      device: view.getBigUint64(DM_NAMES.fields.dev[1]),
      name: view.getCString(DM_NAMES.fields.name[1]),
    }))
    // No device at all is one entry without number and name.
    .filter(({ device }) => device !== 0n);
}

/** Records that lie one after the other, each saying at `offset` how far the next one is. */
function* chain(first: Deno.PointerObject, offset: number): Generator<Deno.UnsafePointerView> {
  for (let at = first;;) {
    const view = new Deno.UnsafePointerView(at);
    yield view;
    const next = view.getUint32(offset);
    const pointer = Deno.UnsafePointer.offset(at, next);
    if (next === 0 || pointer === null) return;
    at = pointer;
  }
}

/** A device by its name; `undefined` if it does not exist. @throws {SyscallError} */
export function deviceInfo(name: string): DeviceInfo | undefined {
  using task = new Task(DM_DEVICE_INFO, name).run();
  const info = new Struct(DM_INFO);
  library().dm_task_get_info(task.pointer, info.bytes);
  if (info.get("exists") === 0) return undefined;
  return {
    major: info.get("major"),
    minor: info.get("minor"),
    openCount: info.get("open_count"),
    suspended: info.get("suspended") !== 0,
    live: info.get("live_table") !== 0,
    readOnly: info.get("read_only") !== 0,
    deferredRemove: info.get("deferred_remove") !== 0,
  };
}

/**
 * A device's table: its targets and their parameters.
 *
 * @throws {SyscallError} ENXIO if the device does not exist
 */
export function table(name: string): Target[] {
  using task = new Task(DM_DEVICE_TABLE, name).run();
  return targetsOf(task, name);
}

/** A device's targets and their state. @throws {SyscallError} ENXIO if the device does not exist */
export function status(name: string): Target[] {
  // Without a flush, which a full pool would answer with an error or not at all.
  using task = new Task(DM_DEVICE_STATUS, name).withoutFlush().run();
  return targetsOf(task, name);
}

function targetsOf(task: Task, name: string): Target[] {
  const info = new Struct(DM_INFO);
  library().dm_task_get_info(task.pointer, info.bytes);
  if (info.get("exists") === 0) unwrap(-ENXIO, "device-mapper table", name);
  const start = new BigUint64Array(1), length = new BigUint64Array(1);
  const type = new BigUint64Array(1), parameters = new BigUint64Array(1);
  const targets: Target[] = [];
  let next: Deno.PointerValue = null;
  do {
    next = library().dm_get_next_target(
      task.pointer,
      next,
      bytes(start),
      bytes(length),
      bytes(type),
      bytes(parameters),
    );
    if (type[0] === 0n) break; // A device without a table.
    targets.push({
      start: Number(start[0]),
      length: Number(length[0]),
      type: stringAt(type[0]),
      parameters: stringAt(parameters[0]),
    });
  } while (next !== null);
  return targets;
}

function stringAt(address: bigint): string {
  const pointer = Deno.UnsafePointer.create(address);
  return pointer === null ? "" : Deno.UnsafePointerView.getCString(pointer);
}

/**
 * Makes a device with one target, and its node.
 *
 * @throws {SyscallError} EBUSY if the name is taken
 */
export function createDevice(name: string, target: Target): void {
  using task = new Task(DM_DEVICE_CREATE, name).addNodeOnCreate();
  task.addTarget(target.start, target.length, target.type, target.parameters).runSynced();
}

/**
 * Makes the node of a device if it is missing or has another device's number. Without udev, a
 * process killed between the kernel's and the library's part of a creation leaves no node, or that
 * of an earlier device of this name.
 *
 * @param info of the device
 * @throws {SyscallError}
 */
export function ensureNode(name: string, info: Pick<DeviceInfo, "major" | "minor">): void {
  if (isNodeOf(`${deviceDirectory()}/${name}`, info)) return;
  using _task = new Task(DM_DEVICE_MKNODES, name).run();
  // Nodes are made in the wait for a cookie, and this task has no cookie.
  withLog(() => library().dm_task_update_nodes());
}

function isNodeOf(path: string, { major, minor }: Pick<DeviceInfo, "major" | "minor">): boolean {
  try {
    // udev's nodes are links. Opened by O_PATH, the device itself is left alone.
    const stat = withFd(open(path, O_PATH), (fd) => fstat(fd));
    return stat.rdevMajor === major && stat.rdevMinor === minor;
  } catch (error) {
    if (error instanceof SyscallError && error.errno === ENOENT) return false;
    throw error;
  }
}

/**
 * Loads another table for a device, which takes effect at its next resume.
 *
 * @throws {SyscallError}
 */
export function reloadTable(name: string, target: Target): void {
  using task = new Task(DM_DEVICE_RELOAD, name);
  task.addTarget(target.start, target.length, target.type, target.parameters).run();
}

/**
 * Stops a device's input and output; a file system on it is frozen first.
 *
 * @throws {SyscallError}
 */
export function suspendDevice(name: string): void {
  using _task = new Task(DM_DEVICE_SUSPEND, name).run();
}

/**
 * Resumes a device, with the table that was loaded since it was suspended.
 *
 * @throws {SyscallError}
 */
export function resumeDevice(name: string): void {
  using _task = new Task(DM_DEVICE_RESUME, name).runSynced();
}

/**
 * Removes a device and its node, raw: 0 or `-errno` (`-EBUSY` if it is in use, `-ENXIO` if it does
 * not exist).
 *
 * @param deferred if it is in use, remove it when its last user closes it
 */
export function tryRemoveDevice(name: string, deferred = false): number {
  using task = new Task(DM_DEVICE_REMOVE, name);
  if (deferred) task.setDeferredRemove();
  return task.tryRunSynced();
}

/**
 * Cancels the deferred removal of a device. Returns false if the device is being removed or is
 * gone.
 */
export function cancelDeferredRemoval(name: string): boolean {
  return trySendMessage(name, "@cancel_deferred_remove") === 0;
}

/** Sends a message to a device's target, raw: 0 or `-errno`. */
export function trySendMessage(name: string, text: string): number {
  using task = new Task(DM_DEVICE_TARGET_MSG, name).setMessage(text);
  return task.tryRun();
}

/** The same for a message that is likely to fail: log messages of the library are dropped. */
export function trySendQuietly(name: string, text: string): number {
  return withoutSink(() => trySendMessage(name, text));
}

/** Sends a message to a device's target. @throws {SyscallError} */
export function sendMessage(name: string, text: string): void {
  using _task = new Task(DM_DEVICE_TARGET_MSG, name).setMessage(text).run();
}

/** The directory of device nodes, `/dev/mapper`. */
export function deviceDirectory(): string {
  const text = library().dm_dir();
  return text === null ? "/dev/mapper" : Deno.UnsafePointerView.getCString(text);
}

/**
 * Whether the library waits for udev: false without udev, and with `DM_DISABLE_UDEV` in the
 * environment.
 */
export function isUdevSynced(): boolean {
  return library().dm_udev_get_sync_support() === 1;
}
