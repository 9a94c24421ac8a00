/**
 * `veneer help options`: the keys of `-o` and of `--storage-opt`.
 *
 * @module
 */
import type { DriverHelp, OptionHelp } from "../../drivers/definition.ts";
import { COMMON_OPTIONS, DRIVERS } from "../../drivers/names.ts";
import { columns } from "./help.ts";
import { WIDTH_OF_TEXT, wrapText } from "./wrap.ts";

/** The word after `veneer help`. */
export const OPTIONS_TOPIC = "options";

/** The options of one driver, or those of all drivers. */
export interface KnownOptions extends DriverHelp {
  /** `undefined` for the options of all drivers. */
  readonly driver: string | undefined;
}

/** The options of all drivers, in the order of drivers. */
export async function knownOptions(): Promise<readonly KnownOptions[]> {
  const ofDrivers = await Promise.all(DRIVERS.map(async ({ name, optionKeys, loadHelp }) => {
    const keysAlone = { options: optionKeys.map(keyAlone), storageOptions: [] };
    return { driver: name, ...await loadHelp?.() ?? keysAlone };
  }));
  return [{ driver: undefined, options: COMMON_OPTIONS, storageOptions: [] }, ...ofDrivers];
}

const keyAlone = (key: string): OptionHelp => ({ key, value: "VALUE", summary: "" });

/** The text, in lines of at most `width`. */
export function optionsText(known: readonly KnownOptions[], width = WIDTH_OF_TEXT): string {
  const rows = (options: readonly OptionHelp[]) =>
    columns(options.map(({ key, value, summary }) => [`${key}=${value}`, summary]), width);
  const section = (title: string, options: readonly OptionHelp[]) =>
    options.length === 0 ? [] : ["", title, ...rows(options)];
  return [
    ...wrapText(
      "Options of drivers are given by -o KEY=VALUE (--option), or as `options` in the configuration file. " +
        "Keys may be in any case. A SIZE is a number and a unit, such as 512M, 10G or 1.5GiB.",
      width,
    ),
    ...known.flatMap(({ driver, options }) => section(`${driver ?? "Every driver"}:`, options)),
    "",
    ...wrapText(
      "Options of layers are given by `veneer create --read-write --storage-opt KEY=VALUE`.",
      width,
    ),
    ...known.flatMap(({ driver, storageOptions }) => section(`${driver}:`, storageOptions)),
  ].join("\n");
}
