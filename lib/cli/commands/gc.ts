/**
 * `veneer gc`: lists files that no record names, and records of missing things; with --delete,
 * deletes them.
 *
 * @module
 */
import { diskUsage } from "../../../drivers/union/disk_usage.ts";
import { VeneerError } from "../../base/errors.ts";
import { escapePath } from "../../base/printable.ts";
import { formatSize } from "../../base/sizes.ts";
import { deleteInPlace } from "../../care/collect.ts";
import type { CheckedStore } from "../../care/check.ts";
import type { MeasuredOrphan } from "../../care/orphan.ts";
import { findOrphans } from "../../care/orphans.ts";
import type { GraphDriver } from "../../graph/driver.ts";
import { dockerOn } from "../../store/dockerd.ts";
import { checkedStores } from "../checked_stores.ts";
import { type CommandContext, requireRoot, type Run } from "./context.ts";

export const run: Run = async (context) => {
  requireRoot();
  const { output, options } = context;
  const stores = await checkedStores(context);
  const count = (directory: number) => diskUsage(directory).bytes;
  const found = stores.map((store) => ({ store, orphans: findOrphans(store, count) }));
  const all = found.flatMap(({ orphans }) => orphans);
  const deleted = new Set<string>();
  let status = 0;
  if (options.flag("delete")) {
    for (const { store, orphans } of found) {
      status ||= await deleteOrphans(context, store, orphans, deleted);
    }
  }
  const freed = all.filter(({ file }) => deleted.has(file));
  if (output.json) {
    output.result({
      orphans: all.map(({ layer = null, remedy = null, deletion, ...orphan }) => ({
        ...orphan,
        layer,
        deletable: deletion !== "none",
        deleted: deleted.has(orphan.file),
        remedy,
      })),
    }, () => []);
    return status;
  }
  if (all.length === 0) {
    output.line("no orphans");
    return status;
  }
  await output.table([
    ["KIND", "SIZE", "AGE", "FILE"],
    ...all.map(({ kind, bytes, age, file, what, remedy }) => [
      kind,
      formatSize(bytes),
      ageWords(age),
      escapePath(`${file} ${what}${deletedOr(file, deleted, remedy)}`),
    ]),
  ]);
  const sum = (orphans: readonly MeasuredOrphan[]) =>
    formatSize(orphans.reduce((sum, { bytes }) => sum + bytes, 0));
  const could = all.filter(({ deletion, file }) => deletion !== "none" && !deleted.has(file));
  if (freed.length > 0) output.line(`${freed.length} deleted, ${sum(freed)}`);
  if (could.length > 0) {
    output.line(`${output.command("gc", "--delete")} deletes ${could.length}, ${sum(could)}`);
  }
  return status;
};

const deletedOr = (file: string, deleted: ReadonlySet<string>, remedy: string | undefined) =>
  deleted.has(file) ? ": deleted" : remedy === undefined ? "" : `; ${remedy}`;

/** Deletes a store's orphans. Files come first, since layers need an open store. */
async function deleteOrphans(
  context: CommandContext,
  store: CheckedStore,
  orphans: readonly MeasuredOrphan[],
  deleted: Set<string>,
): Promise<number> {
  const { output, root } = context;
  const wanted = orphans.filter(({ deletion }) => deletion !== "none");
  if (wanted.length === 0 || store.of !== "layers") return 0;
  const home = `${store.root}/${store.driver}`;
  const dockerd = dockerOn({ root, home, isRecorded: () => true });
  if (dockerd !== undefined) {
    throw new VeneerError(
      "in use",
      `${dockerd} runs on ${home} and knows layers that are in no record yet; stop it first`,
    );
  }
  let status = 0;
  const failed = (error: VeneerError) => {
    const failure = output.error(error);
    status ||= failure;
  };
  if (wanted.some(({ deletion }) => deletion === "in place")) {
    for (const { file } of deleteInPlace(store, failed)) deleted.add(file);
  }
  const layers = wanted.filter(({ deletion }) => deletion === "layer");
  if (layers.length > 0) removeLayers(await context.openToChange(), layers, deleted, failed);
  return status;
}

/** Removes layers, children first, as long as one can be removed. */
function removeLayers(
  driver: GraphDriver,
  layers: readonly MeasuredOrphan[],
  deleted: Set<string>,
  failed: (error: VeneerError) => void,
): void {
  const known = driver.layers();
  const children = new Map<string, number>();
  for (const { parent } of known) {
    if (parent) children.set(parent, (children.get(parent) ?? 0) + 1);
  }
  const parents = new Map(known.map(({ id, parent }) => [id, parent]));
  const byId = new Map(layers.map((layer) => [layer.layer!, layer]));
  const ready = layers.map(({ layer }) => layer!).filter((id) => !children.get(id));
  for (const id of ready) {
    try {
      driver.remove(id);
    } catch (error) {
      failed(error as VeneerError);
      continue;
    }
    deleted.add(byId.get(id)!.file);
    const parent = parents.get(id);
    if (!parent) continue;
    const left = children.get(parent)! - 1;
    children.set(parent, left);
    if (left === 0 && byId.has(parent)) ready.push(parent);
  }
}

function ageWords(seconds: number): string {
  const units = [["d", 86400], ["h", 3600], ["min", 60]] as const;
  for (const [unit, length] of units) {
    if (seconds >= length) return `${Math.floor(seconds / length)} ${unit}`;
  }
  return `${seconds} s`;
}
