/**
 * The words that completions offer in addition to commands, options, layers and files.
 *
 * @module
 */
import { DRIVERS } from "../../drivers/names.ts";
import type { OptionHelp } from "../../drivers/definition.ts";
import { knownOptions } from "./options_topic.ts";
import type { ValueKind } from "./spec.ts";

/** A word to offer. If it ends in `=` or `.`, it is the beginning of a longer word. */
export interface Candidate {
  readonly word: string;
  readonly summary: string;
}

/** The kinds of values with a fixed list of words. */
export const LISTED_KINDS = ["driver option", "storage option", "filter"] as const;
export type ListedKind = typeof LISTED_KINDS[number];

/** The words of each of these kinds. */
export type CompletionWords = Readonly<Record<ListedKind, readonly Candidate[]>>;

/** Conditions of `snapshot ls`. */
const FILTERS: readonly Candidate[] = [
  ...["active", "view", "committed"].map((kind) => ({
    word: `kind==${kind}`,
    summary: `${kind} snapshots`,
  })),
  { word: "name==", summary: "the snapshot of that key or name" },
  { word: "name~=", summary: "those whose key or name fits a regular expression" },
  { word: "parent==", summary: "those that stand on one" },
  { word: "labels.", summary: "those with a label: labels.KEY==VALUE" },
];

/** Collects the words of all drivers. */
export async function completionWords(): Promise<CompletionWords> {
  const known = await knownOptions();
  const storage = new Map(
    known.flatMap(({ storageOptions }) => storageOptions).reverse()
      .map((option) => [option.key, option]),
  );
  return {
    "driver option": known.flatMap(({ options }) => options.flatMap(candidates)),
    "storage option": [...storage.values()].flatMap(candidates),
    filter: FILTERS,
  };
}

export function isListed(kind: ValueKind | undefined): kind is ListedKind {
  return LISTED_KINDS.some((listed) => listed === kind);
}

/** A kind in the form for the name of a shell function. */
export const functionName = (kind: ListedKind) => `${kind.replace(" ", "_")}s`;

/** The summary of a choice, if it is a driver. */
export function choiceSummary(choice: string): string {
  return DRIVERS.find(({ name }) => name === choice)?.summary ?? "";
}

function candidates({ key, choices, summary }: OptionHelp): Candidate[] {
  return (choices ?? [""]).map((choice) => ({ word: `${key}=${choice}`, summary }));
}
