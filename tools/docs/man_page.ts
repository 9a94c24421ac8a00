/**
 * The manual page `veneer(1)`, in the macros of man(7).
 *
 * @module
 */
import { DEFAULT_ROOT, DRIVERS } from "../../drivers/names.ts";
import { usageLine } from "../../lib/cli/help.ts";
import type { KnownOptions } from "../../lib/cli/options_topic.ts";
import type { CommandSpec, OptionSpec } from "../../lib/cli/spec.ts";
import { GLOBAL_OPTIONS } from "../../lib/cli/table.ts";
import { VERSION } from "../../lib/cli/version.ts";
import { optionWords, SECTIONS, sentence, STATUSES, unwrapped } from "./reference.ts";

/** The page's text. It has no date: it changes with the commands alone. */
export function manPage(options: readonly KnownOptions[]): string {
  return [
    '.\\" Written by `make docs` from the tables of commands and options.',
    `.TH VENEER 1 "" "Veneer ${VERSION}" "Veneer"`,
    ".SH NAME",
    "veneer \\- storage drivers for layers of containers",
    ".SH SYNOPSIS",
    `.B veneer\n${escaped("[OPTION]… COMMAND [ARGUMENT]…")}`,
    ".SH DESCRIPTION",
    ...paragraphs(
      "Veneer keeps layers of file systems as container engines use them. A layer is a directory tree, recorded " +
        "as its additions, changes and deletions against a parent. Veneer makes layers, fills them from tars, " +
        "mounts them, lists their changes and writes those as tars. It keeps snapshots as containerd has them, " +
        "and whole images, and serves containerd and Docker.",
      "Commands need root. Results go to standard output, and everything else to standard error. An error is one " +
        "line, which names the thing, the reason and, behind a semicolon, the remedy.",
    ),
    ".SH OPTIONS",
    ...paragraphs("They stand before or after the command."),
    ...optionItems(GLOBAL_OPTIONS),
    ...SECTIONS.flatMap(({ group, commands }) => [
      `.SH ${group === undefined ? "COMMANDS" : `${group.name.toUpperCase()} COMMANDS`}`,
      ...group === undefined ? [] : paragraphs(unwrapped(group.details)),
      ...commands.flatMap(commandSection),
    ]),
    ".SH DRIVERS",
    ...DRIVERS.flatMap(({ name, summary }) => item(bold(name), sentence(summary))),
    ".SH OPTIONS OF DRIVERS",
    ...paragraphs(
      "They are given by `-o KEY=VALUE`, or as `options` in the configuration file. Keys may be in any case. A " +
        "SIZE is a number and a unit, such as 512M, 10G or 1.5GiB.",
    ),
    ...options.flatMap(({ driver, options }) => keySection(driver ?? "Every driver", options)),
    ".SH OPTIONS OF LAYERS",
    ...paragraphs("They are given by `veneer create --read-write --storage-opt KEY=VALUE`."),
    ...options.flatMap(({ driver, storageOptions }) => keySection(driver ?? "", storageOptions)),
    ".SH EXIT STATUS",
    ...STATUSES.flatMap(({ status, code, meaning }) =>
      item(bold(`${status}`), `${code === undefined ? "" : `(${code}) `}${meaning}`)
    ),
    ".SH ENVIRONMENT",
    ...item(
      bold("VENEER_ROOT, VENEER_DRIVER, VENEER_STORE"),
      "In place of `--root`, `--driver` and `--store`, which win over them.",
    ),
    ...item(bold("NO_COLOR"), "No colours on a terminal."),
    ...item(bold("SOURCE_DATE_EPOCH"), "The time that a new image or archive has as its own."),
    ".SH FILES",
    ...item(italic(DEFAULT_ROOT), "The stores, unless `--root` names another directory."),
    ...item(italic("/etc/veneer/config.toml"), "The configuration; root's alone to write."),
    ...item(italic("/run/veneer"), "The counts of mounts; empty after a restart of the machine."),
    ".SH SEE ALSO",
    ".BR containerd (8),\n.BR dockerd (8),\n.BR mount (8),\n.BR tar (1)",
    "",
  ].join("\n");
}

function commandSection(command: CommandSpec): string[] {
  return [
    `.SS ${bold(usageLine(command).slice("veneer ".length))}`,
    ...paragraphs(
      sentence(command.summary),
      ...command.details ? [unwrapped(command.details)] : [],
    ),
    ...optionItems(command.options),
    ...command.examples.flatMap(([line, meaning]) => [
      ".PP",
      ".nf",
      `    ${escaped(line)}${meaning === "" ? "" : `    # ${escaped(meaning)}`}`,
      ".fi",
    ]),
  ];
}

const optionItems = (options: readonly OptionSpec[]): string[] =>
  options.flatMap((option) => item(bold(optionWords(option)), option.summary));

function keySection(
  title: string,
  options: readonly { key: string; value: string; summary: string }[],
): string[] {
  if (options.length === 0) return [];
  return [
    `.SS ${escaped(title)}`,
    ...options.flatMap(({ key, value, summary }) => item(bold(`${key}=${value}`), summary)),
  ];
}

/** A term, and below it its meaning. */
const item = (term: string, meaning: string): string[] => [".TP", term, lineOf(meaning)];

const paragraphs = (...texts: string[]): string[] => texts.flatMap((text) => [".PP", lineOf(text)]);

/** A line of text: its code is bold, and no request begins it. */
function lineOf(text: string): string {
  const words = text.split("`").map((part, i) => i % 2 === 0 ? escaped(part) : bold(part)).join("");
  return /^[.']/.test(words) ? `\\&${words}` : words;
}

const bold = (text: string): string => `\\fB${escaped(text)}\\fR`;
const italic = (text: string): string => `\\fI${escaped(text)}\\fR`;

/** Characters that roff has a meaning for, and those that not every terminal has. */
function escaped(text: string): string {
  return text.replaceAll("\\", "\\e").replaceAll("-", "\\-").replaceAll("…", "...")
    .replaceAll("'", "\\(aq").replaceAll("`", "\\(ga").replaceAll("^", "\\(ha")
    .replaceAll("~", "\\(ti").replaceAll("↳", "the arrow");
}
