/**
 * `docs/commands.md`: every command with its options and examples, as its help has them.
 *
 * @module
 */
import { usageLine } from "../../lib/cli/help.ts";
import type { KnownOptions } from "../../lib/cli/options_topic.ts";
import type { CommandSpec, OptionSpec } from "../../lib/cli/spec.ts";
import { GLOBAL_OPTIONS } from "../../lib/cli/table.ts";
import { optionWords, SECTIONS, sentence, STATUSES, unwrapped } from "./reference.ts";

const WRITTEN = "<!-- Written by `make docs`: change the table of commands instead. -->";

/** The page on commands. */
export function commandsPage(): string {
  return lines(
    "# Commands",
    WRITTEN,
    "`veneer [OPTION]… COMMAND [ARGUMENT]…`",
    "## Options of every command",
    optionTable(GLOBAL_OPTIONS),
    ...SECTIONS.flatMap(({ group, commands }) => [
      `## ${
        group === undefined
          ? "Layers, the store, and the program"
          : sentence(group.summary).slice(0, -1)
      }`,
      ...group === undefined ? [] : [unwrapped(group.details)],
      ...commands.flatMap(commandSection),
    ]),
    "## Exit statuses",
    table(
      ["status", "code in JSON", "meaning"],
      STATUSES.map(({ status, code, meaning }) => [
        `${status}`,
        code === undefined ? "" : `\`${code}\``,
        meaning,
      ]),
    ),
  );
}

/** The page on the options of drivers. */
export function optionsPage(options: readonly KnownOptions[]): string {
  const keys = (rows: readonly { key: string; value: string; summary: string }[]) =>
    table(
      ["option", "meaning"],
      rows.map(({ key, value, summary }) => [`\`${key}=${value}\``, summary]),
    );
  return lines(
    "# Options of drivers",
    WRITTEN,
    "They are given by `-o KEY=VALUE` (`--option`), or as `options` in the configuration file. Keys may be in any " +
      "case. A SIZE is a number and a unit, such as 512M, 10G or 1.5GiB.",
    ...options.filter(({ options }) => options.length > 0)
      .flatMap(({ driver, options }) => [`## ${driver ?? "Every driver"}`, keys(options)]),
    "# Options of layers",
    "They are given by `veneer create --read-write --storage-opt KEY=VALUE`.",
    ...options.filter(({ storageOptions }) => storageOptions.length > 0)
      .flatMap(({ driver, storageOptions }) => [`## Layers of ${driver}`, keys(storageOptions)]),
  );
}

function commandSection(command: CommandSpec): string[] {
  return [
    `### ${command.name}`,
    `\`${usageLine(command)}\``,
    sentence(command.summary),
    ...command.details ? [unwrapped(command.details)] : [],
    ...command.options.length > 0 ? [optionTable(command.options)] : [],
    [
      "```sh",
      ...command.examples.map(([line, meaning]) => meaning === "" ? line : `${line}  # ${meaning}`),
      "```",
    ].join("\n"),
  ];
}

const optionTable = (options: readonly OptionSpec[]): string =>
  table(
    ["option", "meaning"],
    options.map((option) => [`\`${optionWords(option)}\``, option.summary]),
  );

/** A table; a bar within a cell is no border. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const row = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [row(head), row(head.map(() => "---")), ...rows.map(row)].join("\n");
}

/** Paragraphs, tables and titles, with an empty line between them. */
const lines = (...parts: string[]): string => `${parts.join("\n\n")}\n`;
