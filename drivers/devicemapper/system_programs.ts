/**
 * Finds programs of the system, such as mkfs.
 *
 * @module
 */
import { join } from "@std/path";
import { tryLstat } from "../../ffi/stat.ts";

/**
 * Their usual directories, which may be missing in `PATH`, such as that of a user who became root.
 */
const USUAL = ["/usr/sbin", "/sbin"];

/**
 * The path of a program; `undefined` if it is missing. Only absolute entries of `PATH` count: an
 * empty or relative one is searched in the working directory, where another user may have put a
 * program with that name.
 */
export function findProgram(name: string, path = Deno.env.get("PATH") ?? ""): string | undefined {
  return [...path.split(":"), ...USUAL].filter((directory) => directory.startsWith("/"))
    .map((directory) => join(directory, name))
    .find((program) => tryLstat(program) !== undefined);
}
