/**
 * The mount namespace of this process.
 *
 * @module
 */
import { readlink } from "../../ffi/paths.ts";

let ownNamespace: string | undefined;

/** This process's mount namespace, by the inode that `/proc/self/ns/mnt` shows. */
export function mountNamespace(): string {
  return ownNamespace ??= /\d+/.exec(readlink("/proc/self/ns/mnt"))?.[0] ?? "";
}
