/**
 * Tasks of libdevmapper: one request to the kernel's device-mapper each.
 *
 * A task is made, described, run and destroyed; {@linkcode Task} is `using`-able, so that it is
 * destroyed in any case. With udev, changes in `/dev` go through it: such tasks carry a cookie, a
 * semaphore that udev's rules count down, and {@linkcode Task.runSynced} waits for it. Without
 * udev, or with `DM_DISABLE_UDEV` in the environment, the library makes its nodes itself.
 *
 * @module
 */
import { cstring, decode } from "./cstring.ts";
import { type DeviceMapperLibrary, library } from "./devmapper_library.ts";
import { withLog } from "./devmapper_log.ts";
import { readNames } from "./directory.ts";
import { SyscallError } from "./errno.ts";
import { O_DIRECTORY, O_RDONLY, open, setCloseOnExec, withFd } from "./files.ts";
import { tryReadlink } from "./paths.ts";
import { calls } from "./trace.ts";

// Types of tasks: libdevmapper.h.
export const DM_DEVICE_CREATE = 0;
export const DM_DEVICE_RELOAD = 1;
export const DM_DEVICE_REMOVE = 2;
export const DM_DEVICE_SUSPEND = 4;
export const DM_DEVICE_RESUME = 5;
export const DM_DEVICE_INFO = 6;
export const DM_DEVICE_VERSION = 9;
export const DM_DEVICE_STATUS = 10;
export const DM_DEVICE_TABLE = 11;
export const DM_DEVICE_LIST = 13;
export const DM_DEVICE_CLEAR = 14;
export const DM_DEVICE_MKNODES = 15;
export const DM_DEVICE_LIST_VERSIONS = 16;
export const DM_DEVICE_TARGET_MSG = 17;

/** The name of each type, for messages. */
const TASK_NAMES: ReadonlyMap<number, string> = new Map([
  [DM_DEVICE_CREATE, "create"],
  [DM_DEVICE_RELOAD, "reload"],
  [DM_DEVICE_REMOVE, "remove"],
  [DM_DEVICE_SUSPEND, "suspend"],
  [DM_DEVICE_RESUME, "resume"],
  [DM_DEVICE_INFO, "info"],
  [DM_DEVICE_VERSION, "version"],
  [DM_DEVICE_STATUS, "status"],
  [DM_DEVICE_TABLE, "table"],
  [DM_DEVICE_LIST, "list"],
  [DM_DEVICE_CLEAR, "clear"],
  [DM_DEVICE_MKNODES, "mknodes"],
  [DM_DEVICE_LIST_VERSIONS, "versions"],
  [DM_DEVICE_TARGET_MSG, "message"],
]);

// Flags that tell udev's rules to leave a device alone: libdevmapper.h.
export const DM_UDEV_DISABLE_SUBSYSTEM_RULES_FLAG = 0x0002;
export const DM_UDEV_DISABLE_DISK_RULES_FLAG = 0x0004;
export const DM_UDEV_DISABLE_OTHER_RULES_FLAG = 0x0008;

/** `DM_ADD_NODE_ON_CREATE` of libdevmapper.h: the node is there when the task is done. */
export const DM_ADD_NODE_ON_CREATE = 1;

/** One task. */
export class Task implements Disposable {
  readonly #library: DeviceMapperLibrary = library();
  readonly pointer: Deno.PointerObject;
  readonly #type: number;
  readonly #name: string | undefined;

  /** @param name of the device; left out for tasks about device-mapper itself */
  constructor(type: number, name?: string) {
    this.#type = type;
    this.#name = name;
    const pointer = withLog(() => this.#library.dm_task_create(type));
    if (pointer === null) throw this.#error(ENOMEM);
    this.pointer = pointer;
    if (name === undefined) return;
    const named = withLog(() => this.#library.dm_task_set_name(pointer, cstring(name)));
    if (named === 1) return;
    this.#library.dm_task_destroy(pointer);
    throw this.#error(EINVAL, "no device can have this name");
  }

  [Symbol.dispose](): void {
    this.#library.dm_task_destroy(this.pointer);
  }

  /** Adds a target to the device's table; `start` and `length` in sectors of 512 bytes. */
  addTarget(start: number, length: number, type: string, parameters: string): this {
    const { pointer } = this;
    const [typeBytes, parameterBytes] = [cstring(type), cstring(parameters)];
    return this.#must(
      this.#library.dm_task_add_target(
        pointer,
        BigInt(start),
        BigInt(length),
        typeBytes,
        parameterBytes,
      ),
    );
  }

  /** A message to the target at sector 0. */
  setMessage(text: string): this {
    this.#must(this.#library.dm_task_set_sector(this.pointer, 0n));
    return this.#must(this.#library.dm_task_set_message(this.pointer, cstring(text)));
  }

  /** Remove when the last user closes the device. */
  setDeferredRemove(): this {
    return this.#must(this.#library.dm_task_deferred_remove?.(this.pointer) ?? 0);
  }

  /** The device's node is made by the task itself, not only when the device is resumed. */
  addNodeOnCreate(): this {
    return this.#must(this.#library.dm_task_set_add_node(this.pointer, DM_ADD_NODE_ON_CREATE));
  }

  /** Does not flush input and output in flight. */
  withoutFlush(): this {
    return this.#must(this.#library.dm_task_no_flush(this.pointer));
  }

  /** Runs the task, raw: 0 or `-errno`. */
  tryRun(): number {
    return withLog(() => this.#runRaw());
  }

  /** @throws {SyscallError} with the library's error messages */
  run(): this {
    withLog((errors) => {
      const result = this.#runRaw();
      if (result < 0) throw this.#error(-result, errors.join("; "));
    });
    return this;
  }

  #runRaw(): number {
    calls.tell?.(`device-mapper ${TASK_NAMES.get(this.#type) ?? this.#type} ${this.#name ?? ""}`);
    const ran = this.#library.dm_task_run(this.pointer);
    closeControlOnExec();
    // Without an error number the library itself refused the request.
    return ran === 1 ? 0 : -(this.#library.dm_task_get_errno(this.pointer) || EINVAL);
  }

  /**
   * Runs a task that makes or removes nodes, and waits until udev has done its part: 0 or `-errno`.
   */
  tryRunSynced(): number {
    return this.#runSynced(() => this.tryRun());
  }

  /** The same; @throws {SyscallError} */
  runSynced(): this {
    this.#runSynced(() => (this.run(), 0));
    return this;
  }

  #runSynced(run: () => number): number {
    const cookie = new Uint32Array(1);
    // Thin snapshots share their file system's UUID: no program should find them by it, nor open
    // them to look.
    const flags = DM_UDEV_DISABLE_SUBSYSTEM_RULES_FLAG | DM_UDEV_DISABLE_DISK_RULES_FLAG |
      DM_UDEV_DISABLE_OTHER_RULES_FLAG;
    this.#must(
      withLog(() => this.#library.dm_task_set_cookie(this.pointer, bytes(cookie), flags)),
    );
    try {
      return run();
    } finally {
      // Also after a failure: it frees the semaphore.
      withLog(() => this.#library.dm_udev_wait(cookie[0]));
    }
  }

  #must(done: number): this {
    if (done !== 1) throw this.#error(ENOMEM);
    return this;
  }

  #error(errno: number, detail?: string): SyscallError {
    const name = TASK_NAMES.get(this.#type) ?? String(this.#type);
    return new SyscallError(`device-mapper ${name}`, errno, this.#name, detail);
  }
}

const ENOMEM = 12, EINVAL = 22;

/** The memory of a number that C writes to. */
export const bytes = (numbers: ArrayBufferView<ArrayBuffer>): Uint8Array<ArrayBuffer> =>
  new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);

let controlIsClosedOnExec = false;

/**
 * The library opens its control device without `O_CLOEXEC`; programs started from here must not get
 * it.
 */
function closeControlOnExec(): void {
  if (controlIsClosedOnExec) return;
  controlIsClosedOnExec = true;
  const directory = "/proc/self/fd";
  for (const name of withFd(open(directory, O_RDONLY | O_DIRECTORY), readNames)) {
    const target = tryReadlink(`${directory}/${name}`);
    if (typeof target !== "number" && decode(target).endsWith("/mapper/control")) {
      setCloseOnExec(Number(name));
    }
  }
}
