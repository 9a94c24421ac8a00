/**
 * `veneer repair`: mends the stores at a root, and moves aside what cannot be mended.
 *
 * @module
 */
import { escapePath } from "../../base/printable.ts";
import { VeneerError } from "../../base/errors.ts";
import { checkStore } from "../../care/check.ts";
import type { Finding } from "../../care/finding.ts";
import { placeOf } from "../../care/layer_place.ts";
import { isLoss } from "../../care/mending.ts";
import { type Repaired, repairStore } from "../../care/repair.ts";
import { restoreLayer } from "../../care/restore.ts";
import { checkedStores } from "../checked_stores.ts";
import { DAMAGE_FOUND } from "../exit_status.ts";
import { aboutOperands, findingLine, findingObject } from "../findings.ts";
import { withRepairSource } from "../repair_source.ts";
import { type CommandContext, requireRoot, type Run } from "./context.ts";

export const run: Run = async (context) => {
  requireRoot();
  const { output, operands, options } = context;
  const from = options.value("from");
  if (from !== undefined) return await restore(context, from);
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

/** Restores the files of one layer from its tar, a copy or an image, after the mending of its records. */
async function restore(context: CommandContext, from: string): Promise<number> {
  const { output, operands, options } = context;
  if (operands.length !== 1) {
    throw new VeneerError("usage", "with --from, name the one layer whose files these are");
  }
  const isDry = options.flag("dry-run");
  const driver = await context.openToChange();
  const id = context.layerId(driver);
  const store = (await checkedStores(context)).find((store) =>
    store.of === "layers" && store.driver === driver.name
  )!;
  let status = 0;
  const failed = (error: VeneerError) => {
    const failure = output.error(error);
    status ||= failure;
  };
  const isMendable = (finding: Finding) => finding.layer === id && !isLoss(finding);
  const mended = repairStore(store, { isWanted: isMendable, failed, isDry })?.mended ?? [];
  const choose = placeOf(store, driver, id);
  const { restored, quarantine = null } = await withRepairSource(
    context,
    from,
    { root: store.root, driver: driver.name, choose },
    (source) => restoreLayer({ store, driver, id, source, isDry }),
  );
  const left = (checkStore(store)?.findings ?? []).filter(({ layer }) => layer === id);
  output.result(
    { id, mended: mended.map(findingObject), restored, quarantine, left: left.map(findingObject) },
    () => [
      ...mended.map((finding) => mendedLine(finding, isDry)),
      ...restored.map(({ path, fault }) =>
        escapePath(`${isDry ? "would restore " : ""}${path} of layer ${id}, which was ${fault}`)
      ),
      ...left.map(findingLine),
      `${restored.length} ${isDry ? "to restore" : "restored"}` +
      (quarantine === null ? "" : `; what they replace is in ${quarantine}`),
    ],
  );
  const isDamaged = left.some(({ isNote }) => !isNote) || isDry && restored.length > 0;
  return status || (isDamaged ? DAMAGE_FOUND : 0);
}

const mendedLine = ({ kind, file, what, remedy }: Finding, isDry: boolean) =>
  escapePath(
    isDry ? `would mend ${kind}: ${file} ${what}; ${remedy}` : `${kind}: ${file} ${what}: done`,
  );

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
