/**
 * The options and the result of an apply.
 *
 * @module
 */
import type { IdMaps } from "../../base/id_maps.ts";
import type { Warn } from "../../base/warn.ts";
import type { EntryLog } from "./entry_log.ts";
import type { WhiteoutForm } from "../../tree/whiteouts.ts";

/** The place where a tar is applied, and how deletions are written there. */
export interface ApplyTarget {
  readonly directory: string;
  readonly whiteouts: WhiteoutForm;
  /**
   * If the directory holds only the layer's own changes: the directories of the layers below,
   * uppermost first, over which the tar is applied.
   */
  readonly lowers?: readonly string[];
}

/** How a tar is applied. */
export interface ApplyOptions {
  readonly whiteouts: WhiteoutForm;
  /**
   * The directories of the layers below, uppermost first, with whiteouts in the same form; none if
   * the layer is a whole tree (the form is `none`) or lies on nothing.
   */
  readonly lowers?: readonly string[];
  readonly idMaps: IdMaps;
  /** 0 keeps all work on the calling thread; 1 (the default) lets a Worker help if that pays. */
  readonly workers?: number;
  /** Called now and then with the bytes of (uncompressed) tar read so far. */
  readonly onProgress?: (bytesRead: number) => void;
  /**
   * Something other than its end-of-archive marker proves that the tar is whole, such as a digest:
   * then one that ends behind an entry without that marker is taken, with a warning. A function is
   * asked at that end.
   */
  readonly provenWhole?: boolean | (() => boolean);
  /** Gets every entry that is made. */
  readonly log?: EntryLog;
  /** Gets one warning for each kind of thing that the layer cannot hold. */
  readonly warn?: Warn;
}

/** The result of an apply. */
export interface Applied {
  /** The sum of the sizes of the regular files, in bytes. */
  size: number;
  entries: number;
}
