/**
 * SELinux labels of mounts, which only a kernel with SELinux takes.
 *
 * @module
 */
import { EINVAL, SyscallError } from "../../ffi/errno.ts";
import { VeneerError } from "../base/errors.ts";
import { isListed } from "../base/kernel.ts";

/**
 * Refuses a label if no mount of this kernel can have one: other security modules do not know
 * `context=`. If SELinux is on, its file system is registered (`security/selinux/selinuxfs.c`).
 *
 * @throws {VeneerError} `not supported`
 */
export function requireSELinux(id: string, label: string): void {
  if (isListed("selinuxfs")) return;
  throw new VeneerError(
    "not supported",
    `layer ${id} cannot have the mount label ${label}: SELinux is off in this kernel; ` +
      "leave the label out",
  );
}

/**
 * Explains the failure of a mount that is due to its label: the kernel does not say which option is
 * invalid.
 *
 * @throws {VeneerError} as {@linkcode requireSELinux}
 */
export function explainLabel(error: unknown, id: string, label: string | undefined): void {
  const isInvalid = error instanceof SyscallError && error.errno === EINVAL;
  if (isInvalid && label) requireSELinux(id, label);
}
