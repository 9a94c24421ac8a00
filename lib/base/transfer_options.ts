/**
 * The options of reading a layer's content as a tar, and of applying one.
 *
 * @module
 */

/** Options of a transfer of a layer's content. */
export interface TransferOptions {
  /** Called from time to time with the bytes of tar transferred so far. */
  readonly onProgress?: (bytes: number) => void;
  /**
   * For reading changes: a hard link to a file that was not changed is written as one, by writing
   * that file's unchanged names, too. Drivers that keep changes alone have them in any case; with
   * others the tree is searched, if there is such a link.
   */
  readonly allNames?: boolean;
  /** Whether the tar has ids of this host, which the store's id maps do not change. */
  readonly hostIds?: boolean;
  /**
   * For an apply from a stream: called each second in which it gives nothing, with the bytes of tar
   * so far.
   */
  readonly onWaiting?: (bytes: number) => void;
  /**
   * For an apply: the tar's digest, its size or the clean end of a request's body proves that it is
   * complete. A tar that ends behind an entry is then accepted, with a warning; otherwise it counts
   * as cut short. A function is asked at that end.
   */
  readonly provenWhole?: boolean | (() => boolean);
  /**
   * For an apply: called when all of the tar was applied, before the layer counts as complete. An
   * error of it fails the apply.
   *
   * @param directory the layer's own directory or its mounted tree, open for reading
   */
  readonly beforeComplete?: (directory: number) => void;
}
