/**
 * The configuration that the running kernel was built with, if it can be read.
 *
 * @module
 */
import { readFile } from "../../ffi/files.ts";
import { readSystemFile } from "./system_files.ts";

/** The files that may have it, in the order in which they are read. */
export const KERNEL_CONFIGURATIONS: readonly string[] = [
  "/proc/config.gz",
  `/boot/config-${Deno.osRelease()}`,
];

/** The most bytes of a configuration that is unpacked; those of real kernels have 0.3 MB. */
const MAX_LENGTH = 8 << 20;

/** A configuration; `""` if it is missing or cannot be read. */
export function readConfiguration(path: string): string {
  try {
    if (!path.endsWith(".gz")) return readSystemFile(path) ?? "";
    // Loaded here, for commands to start without it.
    const { gunzipSync } = process.getBuiltinModule("node:zlib");
    return gunzipSync(readFile(path), { maxOutputLength: MAX_LENGTH }).toString();
  } catch {
    return "";
  }
}

/**
 * Those of some settings, such as `CONFIG_QUOTA`, that the kernel was built without, neither built
 * in nor as a module.
 *
 * @returns `undefined` if no configuration can be read
 */
export function lackingSettings(
  settings: readonly string[],
  configurations = KERNEL_CONFIGURATIONS,
): string[] | undefined {
  const text = configurations.map(readConfiguration).find((text) => text.includes("CONFIG_"));
  if (text === undefined) return undefined;
  const on = new Set(text.match(/^CONFIG_\w+(?==[ym]$)/gm));
  return settings.filter((setting) => !on.has(setting));
}
