/**
 * Writes what of the documentation the program's own tables hold: the manual page, and the pages on commands and on
 * options of drivers.
 *
 *     tools/docs.ts           # below docs/
 *
 * @module
 */
import { dirname, join } from "@std/path";
import $ from "dax";
import { knownOptions } from "../lib/cli/options_topic.ts";
import { commandsPage, optionsPage } from "./docs/commands_page.ts";
import { manPage } from "./docs/man_page.ts";

const DIRECTORY = join(dirname(import.meta.dirname!), "docs");

/** The files that are written, by their names below `docs/`; Markdown is not formatted yet. */
export async function pages(): Promise<Record<string, string>> {
  const options = await knownOptions();
  return {
    "veneer.1": manPage(options),
    "commands.md": commandsPage(),
    "options.md": optionsPage(options),
  };
}

/** Formats a page as `deno fmt` formats the project. */
export async function formatted(name: string, text: string): Promise<string> {
  if (!name.endsWith(".md")) return text;
  return await $`${Deno.execPath()} fmt --ext md -`.stdinText(text).cwd(dirname(DIRECTORY)).text()
    .then((out) => `${out.trimEnd()}\n`);
}

if (import.meta.main) {
  for (const [name, text] of Object.entries(await pages())) {
    await Deno.writeTextFile(join(DIRECTORY, name), await formatted(name, text));
  }
}
