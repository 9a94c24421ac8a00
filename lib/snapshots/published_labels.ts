/**
 * Labels that a backend adds to those of callers: facts that it publishes of a layer, such as the
 * directory of its changes. They are not recorded, so that they are always true.
 *
 * @module
 */
import type { SnapshotBackend } from "./backend.ts";
import type { Labels, SnapshotInfo } from "./snapshotter.ts";

export class PublishedLabels {
  /** @param backend may publish nothing */
  constructor(private readonly backend: Pick<SnapshotBackend, "labels">) {}

  /** A snapshot as callers see it. */
  addedTo(info: SnapshotInfo): SnapshotInfo {
    const published = this.backend.labels?.(info.layer);
    if (published === undefined || published.size === 0) return info;
    return { ...info, labels: new Map([...info.labels, ...published]) };
  }

  /** The labels to record, if a caller passes labels back that include published ones. */
  takenFrom(labels: Labels, layer: string): Labels {
    const published = this.backend.labels?.(layer);
    if (published === undefined) return labels;
    return new Map([...labels].filter(([key]) => !published.has(key)));
  }
}
