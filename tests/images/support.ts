/**
 * A store of images of a case's own.
 */
import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { openImages } from "../../drivers/images.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import type { Images } from "../../lib/images/images.ts";
import { storeDir } from "../support/store_dir.ts";
import { TEST_FS } from "../support/cases.ts";

export interface ImageStore extends Disposable {
  readonly images: Images;
  /** A path beside the store. */
  path(name: string): string;
}

/**
 * Opens one.
 *
 * @param driver the one that all cases run with on this file system, if it is not given
 */
export async function imageStore(
  driver = TEST_FS.startsWith("btrfs") ? "btrfs" : "overlay2",
  driverOptions: readonly string[] = [],
): Promise<ImageStore> {
  const scope = new DisposableStack();
  const dir = scope.use(storeDir());
  const options = {
    root: join(dir.path, "root"),
    driver,
    options: driverOptions,
    warn: (message: string) => {
      throw new Error(`a warning: ${message}`);
    },
  };
  const images = await openImages(options);
  scope.defer(() => {
    images.snapshots.cleanup();
    images[Symbol.dispose]();
  });
  return {
    images,
    path: (name) => join(dir.path, name),
    [Symbol.dispose]: () => scope.dispose(),
  };
}

/** The names of all snapshots. */
export const snapshotNames = ({ images }: ImageStore) =>
  Array.from(images.snapshots.walk(), ({ name }) => name);

/** Runs what must be refused as an invalid argument; returns the message. */
export function refused(act: () => unknown, code = "invalid argument"): string {
  try {
    act();
  } catch (error) {
    assert(error instanceof VeneerError, `${error} ${(error as Error).stack}`);
    assertEquals(error.code, code, error.message);
    return error.message;
  }
  throw new Error("it was not refused");
}

/** Runs `use` on the tree of an image. */
export function withTree<T>({ images }: ImageStore, chain: string, use: (root: string) => T): T {
  images.snapshots.view("look", chain);
  try {
    const root = images.snapshots.mount("look");
    try {
      return use(root);
    } finally {
      images.snapshots.unmount("look");
    }
  } finally {
    images.snapshots.remove("look");
  }
}
