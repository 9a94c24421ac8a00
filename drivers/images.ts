/**
 * The images of a store of snapshots.
 *
 * @module
 */
import { Images } from "../lib/images/images.ts";
import { completed, type OpenOptions, parseStoreOptions } from "./registry.ts";
import { loadForSnapshots, openSnapshots, type SnapshotStoreOptions } from "./snapshotters.ts";

/** Further options for opening the images of a store. */
export interface ImageStoreOptions extends SnapshotStoreOptions {
  /** Whether the store is a service's, which offers layers to containerd; false by default. */
  readonly isServed?: boolean;
}

/** Opens the images of a store of snapshots, as `openSnapshotter` opens the store. */
export async function openImages(options: OpenOptions & ImageStoreOptions): Promise<Images> {
  const snapshots = openSnapshots(await loadForSnapshots(options), options);
  try {
    const { warn, options: own } = completed(options);
    const { record, inflater } = parseStoreOptions(own);
    const images = new Images(snapshots, warn, options.isServed, record, inflater);
    if (options.purpose !== "read") images.sweepTemporary();
    return images;
  } catch (error) {
    snapshots.close();
    throw error;
  }
}
