/**
 * `veneer config show`: prints the settings of the store and the origin of each.
 *
 * @module
 */
import { readSettings } from "../../settings.ts";
import type { Run } from "../context.ts";

export const run: Run = async ({ options, output }) => {
  const settings = await readSettings(options);
  await output.resultTable(
    settings,
    () => [
      ["SETTING", "VALUE", "FROM"],
      ...settings.map(({ name, values, from }) => [name, values.join(" ") || "none", from]),
    ],
  );
};
