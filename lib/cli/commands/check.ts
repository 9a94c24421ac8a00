/**
 * `veneer check`: looks for damage in the stores at a root, and changes nothing.
 *
 * @module
 */
import { escapePath } from "../../base/printable.ts";
import { resolveId } from "../../base/ids.ts";
import { VeneerError } from "../../base/errors.ts";
import { type Checked, checkStore } from "../../care/check.ts";
import type { Finding } from "../../care/finding.ts";
import { checkedStores } from "../checked_stores.ts";
import { DAMAGE_FOUND } from "../exit_status.ts";
import type { Output } from "../output.ts";
import { requireRoot, type Run } from "./context.ts";

/** How many things of a kind are named in a line; `--json` has more. */
const MOST_NAMED = 3;

export const run: Run = async (context) => {
  requireRoot();
  const { output, operands, options } = context;
  const deep = options.flag("deep");
  if (deep && options.flag("quick")) throw new VeneerError("usage", "give --quick or --deep");
  const stores = await checkedStores(context);
  const checked = stores.map((store) => checkStore({ ...store, deep })).filter((result) =>
    result !== undefined
  );
  const ids = operands.length === 0 ? undefined : named(operands, checked, output);
  const findings = checked.flatMap(({ findings }) => findings).filter(({ breaks, layer }) =>
    ids === undefined || breaks.layers.some((id) => ids.has(id)) || ids.has(layer ?? "")
  );
  output.result(
    {
      stores: checked.map(({ driver, of, home, count, untold = null }) => ({
        driver,
        of,
        home,
        count,
        untold,
      })),
      findings: findings.map(({ layer = null, isNote = false, ...finding }) => ({
        ...finding,
        layer,
        isNote,
      })),
    },
    () => [...findings.map(lineOf), summary(checked, findings)],
  );
  return findings.some(({ isNote }) => !isNote) ? DAMAGE_FOUND : 0;
};

/** The layers and snapshots that words name, whole or by a unique beginning. */
function named(
  words: readonly string[],
  checked: readonly Checked[],
  output: Output,
): ReadonlySet<string> {
  const all = new Set(checked.flatMap(({ names }) => [...names]));
  return new Set(words.map((word) => {
    if (all.has(word)) return word;
    if (!output.json) return resolveId(word, [...all]);
    throw new VeneerError("not found", `layer ${word} does not exist`, {
      remedy: { kind: "list", of: "layers" },
    });
  }));
}

/** A finding on one line. */
function lineOf({ kind, file, what, breaks, remedy, isNote }: Finding): string {
  const broken = [
    ["layer", breaks.layers] as const,
    ["container", breaks.containers] as const,
    ["image", breaks.images] as const,
  ].filter(([, names]) => names.length > 0).map(([thing, names]) => list(thing, names));
  const effect = broken.length === 0 ? "breaks nothing" : `breaks ${broken.join(", ")}`;
  return escapePath(`${isNote ? "note: " : ""}${kind}: ${file} ${what}; ${effect}; ${remedy}`);
}

function list(thing: string, names: readonly string[]): string {
  const shown = names.slice(0, MOST_NAMED).join(", ");
  const more = names.length - MOST_NAMED;
  return `${thing}${names.length === 1 ? "" : "s"} ${shown}${more > 0 ? ` and ${more} more` : ""}`;
}

function summary(checked: readonly Checked[], findings: readonly Finding[]): string {
  const counts = checked.map(({ driver, of, count }) =>
    `${count} ${count === 1 ? of.slice(0, -1) : of} of ${driver}`
  );
  const untold = checked.reduce((sum, { untold = 0 }) => sum + untold, 0);
  const rest = untold === 0 ? "" : `; the content of ${untold} cannot be told, without a record`;
  const notes = findings.filter(({ isNote }) => isNote).length, found = findings.length - notes;
  const damage = found === 0 ? "no damage" : found === 1 ? "1 finding" : `${found} findings`;
  const noted = notes === 0 ? "" : notes === 1 ? ", 1 note" : `, ${notes} notes`;
  return `${counts.join(", ")}: ${damage}${noted}${rest}`;
}
