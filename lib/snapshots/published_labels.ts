/**
 * Labels that a backend adds to those of callers. They publish facts about a layer, such as the
 * directory of its changes. They are not recorded, so they are always right.
 *
 * @module
 */
import type { SnapshotBackend } from "./backend.ts";
import type { Labels, SnapshotInfo } from "./snapshotter.ts";

export class PublishedLabels {
  /** @param backend need not publish labels */
  constructor(private readonly backend: Pick<SnapshotBackend, "labels">) {}

  /** A snapshot with the published labels. */
  addedTo(info: SnapshotInfo): SnapshotInfo {
    const published = this.backend.labels?.(info.layer);
    if (published === undefined || published.size === 0) return info;
    return { ...info, labels: new Map([...info.labels, ...published]) };
  }

  /** The labels to record: those of a caller without published ones, which it may pass back. */
  takenFrom(labels: Labels, layer: string): Labels {
    const published = this.backend.labels?.(layer);
    if (published === undefined) return labels;
    return new Map([...labels].filter(([key]) => !published.has(key)));
  }
}
