/**
 * `veneer repair --from`: restores the files of one layer or committed snapshot from its tar, a
 * copy or an image, after the mending of its records.
 *
 * @module
 */
import { VeneerError } from "../base/errors.ts";
import { IDENTITY } from "../base/id_maps.ts";
import { isId } from "../base/ids.ts";
import { escapePath } from "../base/printable.ts";
import { type CheckedStore, checkStore } from "../care/check.ts";
import type { Finding } from "../care/finding.ts";
import { placeOfLayer, placeOfSnapshot } from "../care/layer_place.ts";
import { isLoss } from "../care/mending.ts";
import { repairStore } from "../care/repair.ts";
import { restoreLayer } from "../care/restore.ts";
import { restoredLayers, restoredSnapshots, type RestoredStore } from "../care/restored_store.ts";
import type { SnapshotRow, SnapshotRows } from "../care/structure.ts";
import type { GraphDriver } from "../graph/driver.ts";
import type { ChooseLayer } from "../images/layer_tar.ts";
import { Home } from "../store/home.ts";
import { checkedStores } from "./checked_stores.ts";
import type { CommandContext } from "./commands/context.ts";
import { DAMAGE_FOUND } from "./exit_status.ts";
import { findingLine, findingObject, mendedLine } from "./findings.ts";
import { withRepairSource } from "./repair_source.ts";

/** Runs the command; returns its exit status. */
export async function repairFrom(context: CommandContext, from: string): Promise<number> {
  const { operands: [word], operands } = context;
  if (operands.length !== 1) {
    throw new VeneerError("usage", "with --from, name the one layer whose files these are");
  }
  const stores = await checkedStores(context);
  if (stores.some(({ of }) => of === "layers")) {
    const driver = await context.openToChange();
    const isLayer = isId(word) && driver.exists(word);
    const snapshot = isLayer ? undefined : snapshotNamed(word, stores);
    if (snapshot === undefined) return await fromLayer(context, stores, driver, from);
  }
  const snapshot = snapshotNamed(word, stores);
  if (snapshot !== undefined) return await fromSnapshot(context, snapshot, from);
  throw new VeneerError("not found", `snapshot ${JSON.stringify(word)} does not exist`, {
    remedy: { kind: "list", of: "snapshots" },
  });
}

/** A snapshot, and what a check saw of its store. */
interface Named {
  readonly store: CheckedStore;
  readonly rows: SnapshotRows;
  readonly row: SnapshotRow;
}

/** Finds a snapshot by its complete name. */
function snapshotNamed(name: string, stores: readonly CheckedStore[]): Named | undefined {
  for (const store of stores) {
    if (store.of !== "snapshots") continue;
    const rows = checkStore(store)?.rows;
    const row = rows?.snapshots.find((row) => row.name === name);
    if (row !== undefined) return { store, rows: rows!, row };
  }
  return undefined;
}

function fromLayer(
  context: CommandContext,
  stores: readonly CheckedStore[],
  driver: GraphDriver,
  from: string,
): Promise<number> {
  const id = context.layerId(driver);
  const store = stores.find(({ of, driver: name }) => of === "layers" && name === driver.name)!;
  const mended = mend(context, store, id);
  const choose = placeOfLayer(store, driver, id);
  return restore(context, from, { store, id, name: id, choose, mended }, restoredLayers(driver));
}

async function fromSnapshot(
  context: CommandContext,
  { store, rows, row }: Named,
  from: string,
): Promise<number> {
  const { name, kind, layer: id } = row;
  if (kind !== "committed") {
    throw new VeneerError(
      "failed precondition",
      `snapshot ${name} is not committed: its files may be any; only a committed one is restored`,
    );
  }
  const mended = mend(context, store, id);
  const choose = placeOfSnapshot(store, rows, id);
  return await context.changeSnapshots((snapshots) => {
    if (snapshots.name === store.driver) {
      const wanted = { store, id, name, choose, mended };
      return restore(context, from, wanted, restoredSnapshots(snapshots));
    }
    throw new VeneerError(
      "usage",
      `snapshot ${name} is one of ${store.driver}, and ${snapshots.name} was opened; name the --driver`,
    );
  });
}

/** Mends the records of a layer. */
function mend({ options, output }: CommandContext, store: CheckedStore, id: string): Mended {
  let status = 0;
  const failed = (error: VeneerError) => {
    const failure = output.error(error);
    status ||= failure;
  };
  const isWanted = (finding: Finding) => finding.layer === id && !isLoss(finding);
  const result = repairStore(store, { isWanted, failed, isDry: options.flag("dry-run") });
  return { findings: result?.mended ?? [], status };
}

/** The mended findings, and the exit status. */
interface Mended {
  readonly findings: readonly Finding[];
  readonly status: number;
}

/** A layer whose records are mended. */
interface Wanted {
  readonly store: CheckedStore;
  /** The layer's id; for a snapshot, that of its layer. */
  readonly id: string;
  /** Its name for users. */
  readonly name: string;
  readonly choose: ChooseLayer;
  readonly mended: Mended;
}

async function restore(
  context: CommandContext,
  from: string,
  { store, id, name, choose, mended: { findings: mended, status } }: Wanted,
  layers: RestoredStore,
): Promise<number> {
  const { output, options } = context;
  const isDry = options.flag("dry-run");
  const thing = store.of === "layers" ? "layer" : "snapshot";
  const home = Home.open(
    store.root,
    store.of === "layers" ? store.driver : `snapshots/${store.driver}`,
    IDENTITY,
  );
  const { restored, quarantine = null } = await withRepairSource(
    context,
    from,
    { home, choose },
    (source) => restoreLayer({ store, layers, id, source, isDry }),
  );
  const left = (checkStore(store)?.findings ?? []).filter(({ layer }) => layer === id);
  output.result(
    {
      id: name,
      mended: mended.map(findingObject),
      restored,
      quarantine,
      left: left.map(findingObject),
    },
    () => [
      ...mended.map((finding) => mendedLine(finding, isDry)),
      ...restored.map(({ path, fault }) =>
        escapePath(
          `${isDry ? "would restore " : ""}${path} of ${thing} ${name}, which was ${fault}`,
        )
      ),
      ...left.map(findingLine),
      `${restored.length} ${isDry ? "to restore" : "restored"}` +
      (quarantine === null ? "" : `; what they replace is in ${quarantine}`),
    ],
  );
  const isDamaged = left.some(({ isNote }) => !isNote) || isDry && restored.length > 0;
  return status || (isDamaged ? DAMAGE_FOUND : 0);
}
