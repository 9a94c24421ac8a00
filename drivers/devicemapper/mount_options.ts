/**
 * The mount options of a layer's file system, converted from their usual form to that of
 * `mount(2)`.
 *
 * @module
 */
import {
  MS_DIRSYNC,
  MS_LAZYTIME,
  MS_NOATIME,
  MS_NODEV,
  MS_NODIRATIME,
  MS_NOEXEC,
  MS_NOSUID,
  MS_NOSYMFOLLOW,
  MS_RDONLY,
  MS_RELATIME,
  MS_STRICTATIME,
  MS_SYNCHRONOUS,
} from "../../ffi/mount.ts";
import { VeneerError } from "../../lib/base/errors.ts";

/** The options that set or clear a flag of the call (mount(8)). */
const FLAGS: ReadonlyMap<string, readonly [flag: number, set: boolean]> = new Map([
  ["ro", [MS_RDONLY, true]],
  ["rw", [MS_RDONLY, false]],
  ["nosuid", [MS_NOSUID, true]],
  ["suid", [MS_NOSUID, false]],
  ["nodev", [MS_NODEV, true]],
  ["dev", [MS_NODEV, false]],
  ["noexec", [MS_NOEXEC, true]],
  ["exec", [MS_NOEXEC, false]],
  ["sync", [MS_SYNCHRONOUS, true]],
  ["async", [MS_SYNCHRONOUS, false]],
  ["dirsync", [MS_DIRSYNC, true]],
  ["noatime", [MS_NOATIME, true]],
  ["atime", [MS_NOATIME, false]],
  ["nodiratime", [MS_NODIRATIME, true]],
  ["diratime", [MS_NODIRATIME, false]],
  ["relatime", [MS_RELATIME, true]],
  ["norelatime", [MS_RELATIME, false]],
  ["strictatime", [MS_STRICTATIME, true]],
  ["nostrictatime", [MS_STRICTATIME, false]],
  ["lazytime", [MS_LAZYTIME, true]],
  ["nolazytime", [MS_LAZYTIME, false]],
  ["nosymfollow", [MS_NOSYMFOLLOW, true]],
]);

/** The options of one mount. */
export interface MountChoice {
  readonly fileSystem: string;
  readonly readOnly: boolean;
  /** `dm.mountopt`. */
  readonly options: string;
  /** An SELinux label. */
  readonly label: string | undefined;
}

/** All options of a mount. Later ones override earlier ones. */
export function optionList({ fileSystem, readOnly, options, label }: MountChoice): string[] {
  return [
    "discard",
    // Snapshots have the UUID of their origin; xfs mounts them only with this option.
    ...(fileSystem === "xfs" ? ["nouuid"] : []),
    ...options.split(",").filter(Boolean),
    ...(label ? [`context="${checkedLabel(label)}"`] : []),
    // This comes last: `dm.mountopt` must not make a read-only mount writable.
    ...(readOnly ? ["ro"] : []),
  ];
}

/** Splits options into the call's flags and the file system's own options. */
export function splitOptions(options: readonly string[]): { flags: number; data: string } {
  let flags = 0;
  const data: string[] = [];
  for (const option of options) {
    const known = FLAGS.get(option);
    if (known === undefined) data.push(option);
    else flags = known[1] ? flags | known[0] : flags & ~known[0];
  }
  return { flags, data: data.join(",") };
}

function checkedLabel(label: string): string {
  // deno-lint-ignore no-control-regex
  if (/^[^\u0000-\u001f"\\\u007f]+$/.test(label)) return label;
  throw new VeneerError(
    "invalid argument",
    `mount label ${JSON.stringify(label)}: it must have no quote, backslash or control character`,
  );
}
