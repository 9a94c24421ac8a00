/**
 * Writes what of the documentation the program's own tables hold: the manual page, and the pages on commands and on
 * options of drivers. Draws the chart of the figures that were measured last.
 *
 *     tools/docs.ts           # below docs/
 *
 * @module
 */
import { dirname, join } from "@std/path";
import $ from "dax";
import { knownOptions } from "../lib/cli/options_topic.ts";
import { commandsPage, optionsPage } from "./docs/commands_page.ts";
import { resultsChart } from "./docs/results_chart.ts";
import { RESULTS } from "../bench/results.ts";
import { manPage } from "./docs/man_page.ts";

const TOP = dirname(import.meta.dirname!);
const DIRECTORY = join(TOP, "docs");

/** The files that are written, by their names below `docs/`; none is formatted yet. */
export async function pages(): Promise<Record<string, string>> {
  const options = await knownOptions();
  return {
    "veneer.1": manPage(options),
    "commands.md": commandsPage(),
    "options.md": optionsPage(options),
    "results.svg": resultsChart(Deno.readTextFileSync(join(TOP, RESULTS))),
  };
}

/** Formats a page as `deno fmt` formats the project. */
export async function formatted(name: string, text: string): Promise<string> {
  const kind = name.slice(name.lastIndexOf(".") + 1);
  if (kind !== "md" && kind !== "svg") return text;
  return await $`${Deno.execPath()} fmt --ext ${kind} -`.stdinText(text).cwd(TOP).text()
    .then((out) => `${out.trimEnd()}\n`);
}

if (import.meta.main) {
  for (const [name, text] of Object.entries(await pages())) {
    await Deno.writeTextFile(join(DIRECTORY, name), await formatted(name, text));
  }
}
