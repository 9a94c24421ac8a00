/**
 * A mount as a command line for mount(8) of any version.
 *
 * Up to util-linux 2.38 that program calls `mount(2)`, which takes all options as one string of a
 * page. Later ones call `fsconfig(2)` for each option, which takes any number of them and 255 bytes
 * of each value, unless `LIBMOUNT_FORCE_MOUNT2=always` (mount(8)) makes them use `mount(2)`; older
 * ones do not know that variable and need not. A chain of overlay's layers is longer than either
 * takes, but not with names from a working directory, which is how containerd's mounter shortens
 * it, too.
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
  // More than `mount(2)` takes. Linux 6.5 has this option, and mount(8) since 2.39 passes each by
  // itself.
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

/** Whether `mount(2)` takes options in one string. */
const fitsPage = (options: readonly string[]) => byteLength(options.join(",")) <= MOUNT_DATA_MAX;

/** Whether `fsconfig(2)` takes an option's value. */
const fitsCall = (option: string) =>
  byteLength(option.slice(option.indexOf("=") + 1)) <= FSCONFIG_STRING_MAX;

/** The directory, with a slash, that all paths of a list lie below, and their names from there. */
function fromDirectory(list: string): [directory: string, names: string[]] {
  const paths = list.match(/(?:\\.|[^\\:])+/g) ?? [];
  let directory = paths.at(0) ?? "";
  do directory = directory.replace(/[^/]*\/?$/, ""); while (
    directory !== "" && !paths.every((path) => path.startsWith(directory))
  );
  return [directory, paths.map((path) => path.slice(directory.length))];
}

/** Overlay takes `\` before characters that would end a path, and a shell does not. */
const unescape = (path: string) => path.replaceAll(/\\(.)/g, "$1");

const byteLength = (text: string) => encode(text).length;

/** A word as a POSIX shell takes it. */
export function quote(word: string): string {
  if (word === "") return '""';
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
