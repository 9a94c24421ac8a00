/**
 * Finding programs of the system, such as mkfs.
 *
 * @module
 */
import { join } from "@std/path";
import { tryLstat } from "../../ffi/stat.ts";

/** Where they are if `PATH` lacks them, as it does for users who became root. */
const USUAL = ["/usr/sbin", "/sbin"];

/**
 * The path of a program; `undefined` if there is none. Only absolute entries of `PATH` count: one that is empty
 * or relative means the working directory, where anybody may have put a program of that name.
 */
export function findProgram(name: string, path = Deno.env.get("PATH") ?? ""): string | undefined {
  return [...path.split(":"), ...USUAL].filter((directory) => directory.startsWith("/"))
    .map((directory) => join(directory, name))
    .find((program) => tryLstat(program) !== undefined);
}
