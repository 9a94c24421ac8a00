/**
 * The place of a layer in an image: by the digest of its tar, by the chain id that records of
 * Docker's or the name of its snapshot have, or by the number of layers below it.
 *
 * @module
 */
import { CONTENT } from "../store/content_records.ts";
import type { GraphDriver } from "../graph/driver.ts";
import type { ChooseLayer } from "../images/layer_tar.ts";
import type { CheckedStore } from "./check.ts";
import { readContent } from "./content_record.ts";
import { readDockerRecords } from "./docker_records.ts";
import { StoreView } from "./store_view.ts";
import type { SnapshotRows } from "./structure.ts";

/** The facts by which a layer is found in an image, the surest first. */
interface Facts {
  /** The digest of its plain tar. */
  readonly diffId: string | undefined;
  /** With `sha256:` before it. */
  readonly chain: string | undefined;
  /** The number of its ancestors; `undefined` if one is unknown. */
  readonly below: number | undefined;
}

/** Returns a function that finds a layer of a store in an image. */
export function placeOfLayer(
  { root, driver }: CheckedStore,
  layers: GraphDriver,
  id: string,
): ChooseLayer {
  const uses = readDockerRecords(root, driver, () => {})?.uses ?? [];
  const chain = uses.find((use) => use.layer === id && use.chain !== undefined)?.chain;
  return chooser({
    diffId: recordedDiffId(root, driver, id),
    chain: chain && `sha256:${chain}`,
    below: countBelow(id, (layer) => layers.layer(layer).parent),
  });
}

/** Importers name the snapshot of a layer by its chain id; containerd puts a prefix before it. */
const CHAIN = /(?:^|\/)(sha256:[0-9a-f]{64})$/;

/** The same for the layer of a committed snapshot. */
export function placeOfSnapshot(
  { root, driver }: CheckedStore,
  { snapshots }: SnapshotRows,
  layer: string,
): ChooseLayer {
  const rows = new Map(snapshots.map((row) => [row.layer, row]));
  return chooser({
    diffId: recordedDiffId(root, `snapshots/${driver}`, layer),
    chain: CHAIN.exec(rows.get(layer)?.name ?? "")?.[1],
    below: countBelow(layer, (layer) => rows.get(layer)?.parent ?? ""),
  });
}

const chooser = ({ diffId, chain, below }: Facts): ChooseLayer => ({ diffIds, chains }) => {
  const index = diffId !== undefined
    ? diffIds.indexOf(diffId)
    : chain !== undefined
    ? chains.indexOf(chain)
    : below ?? -1;
  return index >= 0 && index < diffIds.length ? index : undefined;
};

function recordedDiffId(root: string, home: string, id: string): string | undefined {
  using view = StoreView.open(root, home);
  const content = view && readContent(view.own(CONTENT, id));
  return typeof content === "object" ? content.diffId : undefined;
}

/** @param parentOf returns `""` for none, `undefined` if it is unknown */
function countBelow(id: string, parentOf: (id: string) => string | undefined): number | undefined {
  const seen = new Set<string>();
  for (let at = id; !seen.has(at);) {
    const parent = parentOf(at);
    if (parent === "") return seen.size;
    if (parent === undefined) return undefined;
    seen.add(at);
    at = parent;
  }
  return undefined;
}
