/**
 * A mount as a command line for mount(8) of any version.
 *
 * Up to util-linux 2.38 mount(8) calls `mount(2)`, which takes all options in one string of a page.
 * Later versions call `fsconfig(2)` for each option. It takes any number of options, but only 255
 * bytes of each value. `LIBMOUNT_FORCE_MOUNT2=always` (mount(8)) makes these versions use
 * `mount(2)`; older versions ignore it. A chain of overlay's layers can be too long for both calls.
 * But it is short enough if its names are relative to a working directory; containerd's mounter
 * does the same.
 *
 * @module
 */
import { resolve } from "@std/path";
import { encode } from "../../ffi/cstring.ts";
import { FSCONFIG_STRING_MAX } from "../../ffi/fsmount.ts";
import { MOUNT_DATA_MAX } from "../../ffi/mount.ts";
import type { Mount } from "../mount/plan.ts";

const LOWERS = "lowerdir=";

/**
 * `mount -t TYPE SOURCE TARGET -o OPTIONS`, quoted for a POSIX shell; in a subshell if it needs a
 * directory.
 */
export function mountCommand(mount: Mount, target: string): string {
  const { options } = mount;
  if (fitsPage(options)) return commandLine(mount, target);
  const lowers = options.find((option) => option.startsWith(LOWERS));
  const [directory, names] = fromDirectory(lowers?.slice(LOWERS.length) ?? "");
  const replaced = (by: readonly string[]) =>
    options.flatMap((option) => option === lowers ? by : [option]);
  const short = replaced([LOWERS + names.join(":")]);
  if (fitsPage(short)) {
    const command = commandLine({ ...mount, options: short }, resolve(target));
    return `(cd ${quote(unescape(directory))} && ${command})`;
  }
  // This is too long for `mount(2)`. Linux has this option since 6.5, and mount(8) since 2.39
  // passes each option in its own call.
  const each = replaced(names.map((name) => `lowerdir+=${directory}${name}`));
  return commandLine({ ...mount, options: each }, target);
}

function commandLine({ type, source, options }: Mount, target: string): string {
  const words = ["mount", "-t", type, source, target];
  if (options.length > 0) words.push("-o", options.join(","));
  const line = words.map(quote).join(" ");
  const isForced = fitsPage(options) && !options.every(fitsCall);
  return isForced ? `LIBMOUNT_FORCE_MOUNT2=always ${line}` : line;
}

/** Whether options fit in the string of `mount(2)`. */
const fitsPage = (options: readonly string[]) => byteLength(options.join(",")) <= MOUNT_DATA_MAX;

/** Whether an option's value fits in a call of `fsconfig(2)`. */
const fitsCall = (option: string) =>
  byteLength(option.slice(option.indexOf("=") + 1)) <= FSCONFIG_STRING_MAX;

/** The common directory of all paths of a list, with a slash at its end, and their names in it. */
function fromDirectory(list: string): [directory: string, names: string[]] {
  const paths = list.match(/(?:\\.|[^\\:])+/g) ?? [];
  let directory = paths.at(0) ?? "";
  do directory = directory.replace(/[^/]*\/?$/, ""); while (
    directory !== "" && !paths.every((path) => path.startsWith(directory))
  );
  return [directory, paths.map((path) => path.slice(directory.length))];
}

/**
 * Removes the `\` that overlay needs before characters that would end a path: a shell does not need
 * it.
 */
const unescape = (path: string) => path.replaceAll(/\\(.)/g, "$1");

const byteLength = (text: string) => encode(text).length;

/** Quotes a word for a POSIX shell. */
export function quote(word: string): string {
  if (word === "") return '""';
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
