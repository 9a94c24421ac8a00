/**
 * `veneer repair`: mends the stores at a root, and moves aside what cannot be mended.
 *
 * @module
 */
import { escapePath } from "../../base/printable.ts";
import { VeneerError } from "../../base/errors.ts";
import { checkStore } from "../../care/check.ts";
import { type Repaired, repairStore } from "../../care/repair.ts";
import { checkedStores } from "../checked_stores.ts";
import { DAMAGE_FOUND } from "../exit_status.ts";
import { aboutOperands, findingLine, findingObject, mendedLine } from "../findings.ts";
import { repairFrom } from "../repair_from.ts";
import { repairPool } from "../repair_pool.ts";
import { requireRoot, type Run } from "./context.ts";

export const run: Run = async (context) => {
  requireRoot();
  const { output, operands, options } = context;
  const from = options.value("from");
  if (options.value("of") !== undefined && (from === undefined || operands.length > 0)) {
    throw new VeneerError("usage", "--of is for --from DUMP, without ID");
  }
  if (from !== undefined) {
    return await (operands.length === 0 ? repairPool(context, from) : repairFrom(context, from));
  }
  const isDry = options.flag("dry-run");
  const stores = await checkedStores(context);
  const names = operands.length === 0
    ? []
    : stores.flatMap((store) => [...checkStore(store)?.names ?? []]);
  const isWanted = aboutOperands(operands, names, output);
  let status = 0;
  const failed = (error: VeneerError) => {
    const failure = output.error(error);
    status ||= failure;
  };
  const done = stores.flatMap((store) => {
    const { driver, of } = store;
    const result = repairStore(store, { isWanted, failed, isDry });
    return result === undefined ? [] : [{ driver, of, result }];
  });
  const results = done.map(({ result }) => result);
  const left = results.flatMap(({ left }) => left).filter(isWanted);
  const mended = results.flatMap(({ mended }) => mended);
  output.result(
    {
      stores: done.map(({ driver, of, result: { quarantine = null } }) => ({
        driver,
        of,
        quarantine,
      })),
      mended: mended.map(findingObject),
      lost: done.flatMap(({ driver, of, result: { lost } }) =>
        lost.map((one) => ({ driver, of, ...one }))
      ),
      renamed: done.flatMap(({ driver, result: { renamed } }) =>
        Object.entries(renamed).map(([from, to]) => ({ driver, from, to }))
      ),
      left: left.map(findingObject),
      dryRun: isDry,
    },
    () => [
      ...mended.map((finding) => mendedLine(finding, isDry)),
      ...results.flatMap((result) => lines(result, isDry)),
      ...left.map(findingLine),
      summary(results, left.filter(({ isNote }) => !isNote).length, isDry),
    ],
  );
  const isDamaged = left.some(({ isNote }) => !isNote) || isDry && mended.length > 0;
  return status || (isDamaged ? DAMAGE_FOUND : 0);
};

/** The lines about lost and renamed layers and snapshots. */
function lines({ lost, renamed, quarantine }: Repaired, isDry: boolean): string[] {
  return [
    ...lost.map(({ name, because }) => {
      const reason = because === name ? "" : `, which stands on ${because}`;
      return isDry
        ? `would move ${name}${reason} aside`
        : `lost ${name}${reason}: moved to ${quarantine}`;
    }),
    ...Object.entries(renamed).map(([from, to]) => `${from} is now snapshot ${to}`),
  ].map(escapePath);
}

function summary(results: readonly Repaired[], left: number, isDry: boolean): string {
  const count = (list: (result: Repaired) => readonly unknown[]) =>
    results.reduce((sum, result) => sum + list(result).length, 0);
  const mended = count((result) => result.mended), lost = count((result) => result.lost);
  if (mended + lost + left === 0) return "no damage";
  const parts = [
    `${mended} ${isDry ? "to mend" : "mended"}`,
    ...lost > 0 ? [`${lost} ${isDry ? "to move aside" : "moved aside"}`] : [],
    ...left > 0 ? [`${left} left`] : [],
  ];
  return parts.join(", ");
}
