/**
 * `veneer repair --from DUMP` without an id: makes the metadata of a pool again from a dump.
 *
 * @module
 */
import { escapePath } from "../base/printable.ts";
import { checkStore } from "../care/check.ts";
import { restorePoolOf } from "../care/pool_restoration.ts";
import { poolStore } from "./pool_choice.ts";
import { checkedStores } from "./checked_stores.ts";
import type { CommandContext } from "./commands/context.ts";
import { DAMAGE_FOUND } from "./exit_status.ts";
import { findingLine, findingObject } from "./findings.ts";

/** Runs the command; returns its exit status. */
export async function repairPool(context: CommandContext, from: string): Promise<number> {
  const { output, options } = context;
  const isDry = options.flag("dry-run");
  const store = poolStore(await checkedStores(context), from, options.value("of"));
  const { path, devices, transactionId, missing, quarantine = null } = restorePoolOf(
    store,
    from,
    isDry,
  );
  const left = (isDry ? [] : checkStore(store)?.findings ?? []).filter(({ isNote }) => !isNote);
  output.result(
    {
      metadata: path,
      devices,
      transactionId,
      missing,
      quarantine,
      left: left.map(findingObject),
      dryRun: isDry,
    },
    () => [
      escapePath(
        `${
          isDry ? "would restore" : "restored"
        } ${path}: ${devices} devices, transaction ${transactionId}`,
      ),
      ...missing > 0 ? [`the dump does not have ${missing} devices that records name`] : [],
      ...quarantine === null ? [] : [`what it replaces is in ${quarantine}`],
      ...left.map(findingLine),
    ],
  );
  return left.length > 0 || isDry ? DAMAGE_FOUND : 0;
}
