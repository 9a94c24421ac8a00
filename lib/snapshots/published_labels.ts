/**
 * Labels that a backend adds to those of callers: what it publishes of a layer, such as where its changes lie.
 * They are not recorded, so that they are always true.
 *
 * @module
 */
import type { SnapshotBackend } from "./backend.ts";
import type { Labels, SnapshotInfo } from "./snapshotter.ts";

export class PublishedLabels {
  /** @param backend some publish nothing */
  constructor(private readonly backend: Pick<SnapshotBackend, "labels">) {}

  /** A snapshot as callers see it. */
  addedTo(info: SnapshotInfo): SnapshotInfo {
    const published = this.backend.labels?.(info.layer);
    if (published === undefined || published.size === 0) return info;
    return { ...info, labels: new Map([...info.labels, ...published]) };
  }

  /** What is recorded of labels that a caller gives back, with the published ones among them. */
  takenFrom(labels: Labels, layer: string): Labels {
    const published = this.backend.labels?.(layer);
    if (published === undefined) return labels;
    return new Map([...labels].filter(([key]) => !published.has(key)));
  }
}
