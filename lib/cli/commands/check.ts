/**
 * `veneer check`: looks for damage in the stores at a root, and changes nothing.
 *
 * @module
 */
import { VeneerError } from "../../base/errors.ts";
import { type Checked, checkStore } from "../../care/check.ts";
import type { Finding } from "../../care/finding.ts";
import { recordContents } from "../../care/content_recording.ts";
import { isLoss } from "../../care/mending.ts";
import { checkedStores } from "../checked_stores.ts";
import { DAMAGE_FOUND } from "../exit_status.ts";
import { aboutOperands, findingLine, findingObject, namedIds } from "../findings.ts";
import { requireRoot, type Run } from "./context.ts";

export const run: Run = async (context) => {
  requireRoot();
  const { output, operands, options } = context;
  const deep = options.flag("deep");
  if (deep && options.flag("quick")) throw new VeneerError("usage", "give --quick or --deep");
  const isRecorded = options.flag("record");
  if (isRecorded && !deep) throw new VeneerError("usage", "--record needs --deep");
  const stores = await checkedStores(context);
  const pairs = stores.flatMap((store) => {
    const checked = checkStore({ ...store, deep });
    return checked === undefined ? [] : [{ store, checked }];
  });
  const checked = pairs.map(({ checked }) => checked);
  const names = checked.flatMap(({ names }) => [...names]);
  const findings = checked.flatMap(({ findings }) => findings)
    .filter(aboutOperands(operands, names, output));
  let status = 0;
  const failed = (error: VeneerError) => {
    const failure = output.error(error);
    status ||= failure;
  };
  const wanted = namedIds(operands, names, output);
  const recorded = !isRecorded
    ? []
    : pairs.flatMap(({ store, checked }) => recordContents(store, checked, wanted, failed));
  output.result(
    {
      stores: checked.map(({ driver, of, home, count, untold = null }) => ({
        driver,
        of,
        home,
        count,
        untold,
      })),
      findings: findings.map(findingObject),
      ...isRecorded && { recorded },
    },
    () => [
      ...findings.map(findingLine),
      summary(checked, findings),
      ...isRecorded ? [`${recorded.length} recorded`] : [],
      // Without the names of a pool's devices, less could be mended.
      ...repairHint(
        findings,
        output.command(...options.values("option").flatMap((one) => ["-o", one]), "repair"),
      ),
    ],
  );
  return status || (findings.some(({ isNote }) => !isNote) ? DAMAGE_FOUND : 0);
};

/** A line about the changes that a repair would make. */
function repairHint(findings: readonly Finding[], command: string): string[] {
  const repairable = findings.filter(({ repair }) => repair !== undefined);
  const losses = repairable.filter(isLoss).length, mends = repairable.length - losses;
  const words = [
    ...mends > 0 ? [`mends ${mends}`] : [],
    ...losses > 0 ? [`moves the layers of ${losses} aside`] : [],
  ];
  return words.length === 0 ? [] : [`${command} ${words.join(" and ")}`];
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
