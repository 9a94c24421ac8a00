/**
 * The driver's requirements on the machine: device-mapper with thin provisioning, libdevmapper and,
 * if udev runs, support for waiting for it.
 *
 * @module
 */
import {
  canDeferRemoval,
  driverVersion,
  isUdevSynced,
  libraryVersion,
  targetTypes,
} from "../../ffi/devmapper.ts";
import { SyscallError } from "../../ffi/errno.ts";
import { tryLstat } from "../../ffi/stat.ts";
import { messageOf, VeneerError } from "../../lib/base/errors.ts";
import { loadModule } from "../../lib/base/kernel.ts";
import { readSystemFile } from "../../lib/base/system_files.ts";
import type { DeviceMapperOptions, RequestedOptions } from "./options.ts";

/**
 * The reason why the driver cannot run here; `undefined` if it can. Loads the kernel's modules if
 * they are needed.
 */
export function checkSupport(): VeneerError | undefined {
  return checkLibrary() ?? checkKernel(loadModule);
}

/** The same without loading modules: a module that could be loaded is enough. */
export function checkSupportQuietly(): VeneerError | undefined {
  return checkLibrary() ?? checkKernel(() => {});
}

/**
 * Also checks for snapshots of block devices, which are needed to read a pool without changing it.
 */
export function checkSnapshotSupport(): VeneerError | undefined {
  return checkLibrary() ?? checkKernel(loadModule, [...PARTS, SNAPSHOTS]);
}

function checkLibrary(): VeneerError | undefined {
  try {
    libraryVersion();
    return undefined;
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error;
    return new VeneerError(
      "not supported",
      "libdevmapper.so.1.02.1 cannot be loaded; install libdevmapper1.02.1 (Debian) or device-mapper-libs",
      { cause: error },
    );
  }
}

/** A part of the kernel that may be built in, a module, or missing. */
interface KernelPart {
  readonly what: string;
  readonly option: string;
  readonly module: string;
  readonly isThere: () => boolean;
}

const PARTS: readonly KernelPart[] = [
  {
    what: "device-mapper",
    option: "CONFIG_BLK_DEV_DM",
    module: "dm-mod",
    isThere: () => /\bdevice-mapper$/m.test(readSystemFile("/proc/misc") ?? ""),
  },
  {
    what: "thin provisioning",
    option: "CONFIG_DM_THIN_PROVISIONING",
    module: "dm-thin-pool",
    isThere: () => targetTypes().includes("thin-pool"),
  },
];

const SNAPSHOTS: KernelPart = {
  what: "snapshots of devices",
  option: "CONFIG_DM_SNAPSHOT",
  module: "dm-snapshot",
  isThere: () => targetTypes().includes("snapshot"),
};

function checkKernel(
  load: (module: string) => void,
  parts: readonly KernelPart[] = PARTS,
): VeneerError | undefined {
  for (const { what, option, module, isThere } of parts) {
    if (isThere()) continue;
    load(module);
    if (!isThere() && !isLoadable(module)) {
      return new VeneerError(
        "not supported",
        `the kernel has no ${what} (${option}, module ${module}); ` +
          "install the kernel's modules, or run a kernel that has it",
      );
    }
    // Without it the kernel cannot be asked for the next part.
    if (what === "device-mapper" && !isThere()) return undefined;
  }
  return undefined;
}

/** Whether a module is installed for the running kernel. */
function isLoadable(module: string): boolean {
  const listed = readSystemFile(`/lib/modules/${Deno.osRelease()}/modules.dep`) ?? "";
  return new RegExp(`/${module.replaceAll("-", "[-_]")}\\.ko`, "m").test(listed);
}

/**
 * Refuses to run if udev runs and libdevmapper cannot wait for it: device nodes would appear and
 * disappear while they are used. With `DM_DISABLE_UDEV` in the environment the library makes the
 * nodes itself.
 */
export function checkUdev({ overrideUdevSyncCheck }: RequestedOptions): void {
  if (isUdevSynced() || overrideUdevSyncCheck || Deno.env.has("DM_DISABLE_UDEV")) return;
  if (tryLstat("/run/udev/control") === undefined) return;
  throw new VeneerError(
    "not supported",
    "udev runs and libdevmapper cannot wait for it (no System V semaphores, or built without udev); " +
      "run on the host, or risk it with the option dm.override_udev_sync_check=true",
  );
}

/**
 * Whether the kernel and the library can remove a device when its last user closes it: since
 * interface 4.27 (Linux 3.13).
 */
export function hasDeferredRemoval(version = driverVersion()): boolean {
  const [major, minor] = version.split(".").map(Number);
  return canDeferRemoval() && (major > 4 || (major === 4 && minor >= 27));
}

/**
 * Decides about deferral if the options do not: if the machine supports it, busy devices are
 * removed and deleted later.
 *
 * @param hasIt whether the kernel and the library support it
 * @throws {VeneerError} `not supported` if they do not, and an option asks for it
 */
export function decideDeferral(
  options: RequestedOptions,
  hasIt = hasDeferredRemoval(),
): DeviceMapperOptions {
  const { deferredRemoval = hasIt } = options;
  const { deferredDeletion = deferredRemoval } = options;
  if (!hasIt && (deferredRemoval || deferredDeletion)) {
    const key = deferredRemoval ? "dm.use_deferred_removal" : "dm.use_deferred_deletion";
    throw new VeneerError(
      "not supported",
      `${key}: kernel ${Deno.osRelease()} or its libdevmapper does not support it (Linux 3.13 and later do); leave it out`,
    );
  }
  return { ...options, deferredRemoval, deferredDeletion };
}

/** The versions of the library and the kernel's interface, for `doctor`. */
export const describeVersions = (): string => {
  try {
    return `libdevmapper ${libraryVersion()}, kernel interface ${driverVersion()}`;
  } catch (error) {
    return messageOf(error);
  }
};
