/**
 * Layers without an image, named by the chain id of the uppermost one.
 *
 * @module
 */
import { VeneerError } from "../base/errors.ts";
import { shown } from "../snapshots/keys.ts";
import type { Snapshotter } from "../snapshots/snapshotter.ts";
import { digest } from "./digest.ts";
import type { WrittenImage } from "./export.ts";
import { HOST } from "./platform.ts";
import { DIFF_ID } from "./records.ts";

const CHAIN = /^sha256:[0-9a-f]{64}$/;

/** Whether a text has the form of a complete chain id, which is also the form of an image's id. */
export const isChainId = (text: string) => CHAIN.test(text);

/**
 * The diff ids of a snapshot's layer and of those below it, the lowest first.
 *
 * @param name the name of a committed snapshot, or `""` for none
 * @throws {VeneerError} `failed precondition` if one of them is not a layer of an image
 */
export function diffIdsOf(snapshots: Snapshotter, name: string): string[] {
  const diffIds: string[] = [];
  for (let next = name; next !== "";) {
    const { labels, parent } = snapshots.stat(next);
    const diffId = labels.get(DIFF_ID);
    if (diffId === undefined) {
      throw new VeneerError(
        "failed precondition",
        `snapshot ${shown(next)} is not a layer of an image, so nothing on it can be made one`,
      );
    }
    diffIds.push(diffId);
    next = parent;
  }
  return diffIds.reverse();
}

/**
 * Makes an image, for this host's platform, of layers that belong to no image.
 *
 * @param diffIds the layers' digests, the lowest first
 * @param time the creation time, in seconds since 1970
 */
export function bareImage(diffIds: readonly string[], time: number): WrittenImage {
  const { architecture, os } = HOST;
  const config = new TextEncoder().encode(JSON.stringify({
    created: new Date(time * 1000).toISOString(),
    architecture,
    os,
    config: {},
    rootfs: { type: "layers", diff_ids: diffIds },
  }));
  return { id: digest(config), config, names: [] };
}
