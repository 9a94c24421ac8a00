/**
 * The capabilities of this process (capabilities(7)). Root in a container lacks some.
 *
 * @module
 */
import { readSystemFile } from "./system_files.ts";

/** `CAP_SYS_ADMIN` of `linux/capability.h`: a bit's number. */
const CAP_SYS_ADMIN = 21n;

/** The remedy, in words. */
export const PRIVILEGED = "in a container, run it with --privileged";

/** Whether this process may not mount, nor set attributes that only the kernel's administrator may. */
export function lacksSysAdmin(): boolean {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(readSystemFile("/proc/self/status") ?? "");
  return effective !== null && (BigInt(`0x${effective[1]}`) >> CAP_SYS_ADMIN & 1n) === 0n;
}
