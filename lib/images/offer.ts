/**
 * Offers the layers of images to containerd, which asks before it fetches and unpacks a layer. It
 * prepares a snapshot with the layer's chain id in a label. If the answer is `already exists`, it
 * lists the snapshots with that label and uses the committed one (containerd
 * docs/remote-snapshotter.md).
 *
 * @module
 */
import { VeneerError } from "../base/errors.ts";
import { REFERENCE, shown } from "../snapshots/keys.ts";
import type { Labels, Snapshotter } from "../snapshots/snapshotter.ts";
import { DIFF_ID } from "./records.ts";
import { tryStat } from "./try_stat.ts";

/**
 * Throws if a snapshot is to be prepared for a layer that an image has.
 *
 * @throws {VeneerError} `already exists`
 */
export function refuseOffered(snapshotter: Snapshotter, parent: string, labels: Labels): void {
  const chain = labels.get(REFERENCE);
  if (chain === undefined) return;
  const layer = tryStat(snapshotter, chain);
  if (layer?.kind !== "committed" || layer.parent !== parent) return;
  if (layer.labels.get(REFERENCE) !== chain || !layer.labels.has(DIFF_ID)) return;
  throw new VeneerError("already exists", `snapshot ${shown(chain)} is there with an image`);
}
