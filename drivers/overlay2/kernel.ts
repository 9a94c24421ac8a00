/**
 * The features of this kernel's overlay, found by reading its parameters or by a test.
 *
 * @module
 */
import { EINVAL } from "../../ffi/errno.ts";
import { close, O_DIRECTORY, O_PATH, open, withFd } from "../../ffi/files.ts";
import { FSCONFIG_SET_STRING, tryFsconfig, tryFsopen } from "../../ffi/fsmount.ts";
import { tryLstat } from "../../ffi/stat.ts";
import { descriptorPath } from "../../ffi/xattr.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import { inUserNamespace, isKernelAtLeast } from "../../lib/base/kernel.ts";
import { readSystemFile } from "../../lib/base/system_files.ts";

const PARAMETERS = "/sys/module/overlay/parameters";

/**
 * Refuses mounts of which layers' ids are mapped, on kernels before 5.19 (`ovl_get_layers` of
 * `fs/overlayfs/super.c`).
 *
 * @param what the option that asks for them, for the message
 * @throws {VeneerError} `not supported`
 */
export function checkIdmappedLayers(what: string): void {
  if (isKernelAtLeast(5, 19)) return;
  throw new VeneerError(
    "not supported",
    `${what}: overlay takes layers with ids mapped since Linux 5.19, and this is ${Deno.osRelease()}`,
  );
}

/**
 * The default of a parameter of overlay's module; `undefined` if the kernel has no such parameter.
 */
export function moduleDefault(name: string): string | undefined {
  return readSystemFile(`${PARAMETERS}/${name}`);
}

/**
 * The options of every overlay mount on this machine: those that are asked for and, unless these
 * contain the same option,
 *
 * - `index=off`: with an index, an upper directory could not be mounted again with other lower
 *   directories, and overlay would refuse a lower directory that is another mount's upper.
 * - `userxattr` in a user namespace, where overlay cannot use `trusted.` attributes.
 */
export function mountFeatures(asked: readonly string[]): string[] {
  const features = [...asked];
  const isOpen = (name: string) => !asked.some((option) => option.split("=")[0] === name);
  if (isOpen("index") && tryLstat(`${PARAMETERS}/index`) !== undefined) features.push("index=off");
  if (isOpen("userxattr") && inUserNamespace()) features.push("userxattr");
  return features;
}

/**
 * Whether overlay takes its lower directories one by one, as `lowerdir+` (Linux 6.7). This is
 * tested on a context that is never mounted.
 *
 * @param directory any directory of the home's file system
 */
export function takesLowersOneByOne(directory: string): boolean {
  const context = tryFsopen("overlay");
  if (context < 0) return false;
  try {
    return withFd(open(directory, O_PATH | O_DIRECTORY), (fd) => {
      const value = descriptorPath(fd);
      const result = tryFsconfig(context, FSCONFIG_SET_STRING, "lowerdir+", value);
      // Before 6.5 overlay accepted any key here, and refused it at the mount.
      const unknown = tryFsconfig(context, FSCONFIG_SET_STRING, "no-such-option", value);
      return result === 0 && unknown === -EINVAL;
    });
  } finally {
    close(context);
  }
}
