/**
 * Unpacks an image's layers, each into a committed snapshot that is named by its chain id.
 *
 * A layer's snapshot is committed only after the digests of its file and of its content were
 * verified. An existing layer is not read again.
 *
 * @module
 */
import {
  close,
  O_DIRECTORY,
  O_PATH,
  O_RDONLY,
  RESOLVE_INSIDE,
  tryOpenat2,
  withFd,
} from "../../ffi/files.ts";
import type { RecordKind } from "../graph/content_format.ts";
import { ContentLog } from "../graph/content_log.ts";
import { codeOf, messageOf, reworded, VeneerError } from "../base/errors.ts";
import { shown } from "../snapshots/keys.ts";
import type { Snapshotter } from "../snapshots/snapshotter.ts";
import type { Snapshots } from "../snapshots/snapshots.ts";
import { contentRecord } from "../store/content_records.ts";
import type { Home } from "../store/home.ts";
import { openWithoutLinks } from "../tree/confined.ts";
import type { DecompressOptions } from "../tar/read/decompress.ts";
import type { FoundImage, FoundLayer } from "./found_image.ts";
import { LayerStream, type LayerSums } from "./layer_stream.ts";
import { partsOf, rebuilt } from "./rebuild.ts";
import { DIFF_ID, layerLabels } from "./records.ts";
import type { TarRecords } from "./tar_records.ts";
import { UNPACKED } from "./temporary.ts";
import { tryStat } from "./try_stat.ts";

/** Reports the layers that are unpacked. */
export interface UnpackReport {
  /**
   * The unpacking of a layer starts.
   *
   * @param number the number of the layer in its image, from 1
   * @returns the report of this layer, which is disposed of at the end
   */
  layer(chain: string, number: number, count: number): LayerReport | undefined;
}

/** Reports the progress of a layer: the bytes of the plain tar that were unpacked. */
export interface LayerReport extends Disposable {
  update(bytes: number): void;
}

/** A layer to be unpacked, and its place in the image. */
interface Step {
  readonly layer: FoundLayer;
  readonly diffId: string;
  readonly chain: string;
  readonly parent: string;
  readonly number: number;
}

/** The parts of a store and the options for unpacking images. */
export interface UnpackContext {
  readonly snapshotter: Snapshots;
  readonly home: Home;
  /** The facts about their files that are recorded for a deep check. */
  readonly content: RecordKind;
  readonly records: TarRecords;
  readonly report: UnpackReport;
  /** How layers are decompressed. */
  readonly how: DecompressOptions;
  /** Whether new layers are offered to containerd. */
  readonly isOffered: boolean;
}

/**
 * Unpacks the layers of an image that are missing. The caller holds the lock of images.
 *
 * @returns the number of layers that were unpacked
 * @throws {VeneerError} `invalid argument` if a layer is damaged or has another digest
 */
export function unpack({ config, layers }: FoundImage, context: UnpackContext): number {
  const { chains, diffIds } = config, { snapshotter, records, report, how } = context;
  const steps = layers.map((layer, i): Step => ({
    layer,
    diffId: diffIds[i],
    chain: chains[i],
    parent: chains[i - 1] ?? "",
    number: i + 1,
  })).filter(({ chain }) => !hasLayer(snapshotter, chain));
  let next: LayerStream | undefined;
  try {
    for (const [i, step] of steps.entries()) {
      using stream = next ?? new LayerStream(step.layer, records.create(), how);
      next = undefined;
      // The next layer is decompressed ahead until the pipe is full.
      if (i + 1 < steps.length) {
        next = new LayerStream(steps[i + 1].layer, records.create(), how);
      }
      using progress = report.layer(step.chain, step.number, layers.length);
      unpackLayer(step, stream, context, progress);
    }
  } finally {
    next?.[Symbol.dispose]();
  }
  return steps.length;
}

/**
 * Whether a layer exists.
 *
 * @throws {VeneerError} `already exists` if the name belongs to a snapshot that is not a layer
 */
function hasLayer(snapshotter: Snapshotter, chain: string): boolean {
  const info = tryStat(snapshotter, chain);
  if (info === undefined) return false;
  if (info.kind === "committed" && info.labels.has(DIFF_ID)) return true;
  throw new VeneerError(
    "already exists",
    `snapshot ${shown(chain)} has the name of a layer and is not an image's; remove it first`,
  );
}

/** The key of a layer that is being unpacked. */
const keyOf = (chain: string) => UNPACKED + chain.slice("sha256:".length);

function unpackLayer(
  step: Step,
  stream: LayerStream,
  context: UnpackContext,
  progress: LayerReport | undefined,
): void {
  const { layer: { what }, diffId, chain, parent } = step;
  const { snapshotter, isOffered } = context;
  const key = keyOf(chain);
  // A killed process left it.
  if (tryStat(snapshotter, key) !== undefined) snapshotter.remove(key);
  snapshotter.prepare(key, parent);
  using log = newLog(snapshotter.stat(key).layer, context);
  try {
    const verify = () => stream.verify(diffId);
    let isOwn = false;
    snapshotter.applyDiff(key, stream.output, {
      onProgress: (bytes) => progress?.update(bytes),
      // Called at the end of the pipe.
      provenWhole: () => (verify(), true),
      beforeComplete: (directory) => isOwn = areDirectories(directory, verify()),
      log,
    });
    if (isOwn) context.records.keep(stream.record, diffId);
    else keepRecord(step, verify(), stream.record, context);
    addSums(step, log, context);
    snapshotter.commit(chain, key, { labels: layerLabels(chain, diffId, isOffered) });
    keepContent(chain, log, context);
  } catch (error) {
    const failure = failureOf(error, stream, what);
    snapshotter.remove(key);
    throw failure;
  }
}

const newLog = (layer: string, { home, content }: UnpackContext): ContentLog | undefined =>
  content === "none" ? undefined : new ContentLog(home, layer);

/** Adds the digest of the layer's tar to the record of its content, and the hashes of its files. */
function addSums(
  { diffId, chain }: Step,
  log: ContentLog | undefined,
  { snapshotter, content }: UnpackContext,
): void {
  if (!log?.isEnded) return;
  if (content === "sizes") return log.addDiffId(diffId);
  withTree(snapshotter, keyOf(chain), (root) => log.addSums(root, diffId));
}

/** Puts the record of a layer's content in place. It must be younger than the commit. */
function keepContent(
  chain: string,
  log: ContentLog | undefined,
  { snapshotter, home }: UnpackContext,
): void {
  if (log?.isEnded) log.finish(contentRecord(home, snapshotter.stat(chain).layer));
}

/**
 * Whether a layer has all directories that its tar leads through and does not make. Then none of
 * them is a link of the layers below.
 *
 * @param layer the layer's own directory, or its tree
 */
function areDirectories(layer: number, { others }: LayerSums): boolean {
  return others?.every((path) => isDirectory(layer, path)) ?? false;
}

/**
 * Keeps the record of a layer's tar. If the tar has paths through directories of the layers below
 * and one is a link, two of its paths may be one file. Then the content of the first is lost. So the
 * record is tried, and made again with all content if need be.
 */
function keepRecord(
  { layer, diffId, chain, parent }: Step,
  sums: LayerSums,
  record: number,
  { snapshotter, records, how }: UnpackContext,
): void {
  const isSure = parent === "" ||
    withTree(
      snapshotter,
      keyOf(chain),
      (root) => areDirectories(root, sums) || isRebuilt(record, root),
    );
  if (isSure) return records.keep(record, diffId);
  using whole = new LayerStream(layer, records.create(), { ...how, keepsAll: true });
  whole.verify(diffId);
  records.replace(whole.record, diffId);
}

/** Runs `use` on the open root of a snapshot. */
function withTree<T>(snapshotter: Snapshotter, key: string, use: (root: number) => T): T {
  const path = snapshotter.mount(key);
  try {
    return withFd(openWithoutLinks(path, O_RDONLY | O_DIRECTORY), use);
  } finally {
    snapshotter.unmount(key);
  }
}

/** Whether a path is a directory without a link on the way. */
function isDirectory(root: number, path: string): boolean {
  const fd = tryOpenat2(root, path, O_PATH | O_DIRECTORY, RESOLVE_INSIDE);
  if (fd >= 0) close(fd);
  return fd >= 0;
}

/** Whether a tree has the content of all files that a record does not keep. */
function isRebuilt(record: number, root: number): boolean {
  try {
    for (const _ of rebuilt(partsOf({ fd: record, path: "the record of a tar" }), root));
    return true;
  } catch (error) {
    if (codeOf(error) === "corrupt store") return false;
    throw error;
  }
}

/** The cause of a failure to unpack a layer. */
function failureOf(error: unknown, stream: LayerStream, what: string): unknown {
  const code = codeOf(error);
  // The reason for an invalid tar may be a damaged file.
  const damage = code === "invalid argument" ? stream.failure() : undefined;
  if (damage !== undefined) return damage;
  // The message names a snapshot that is removed.
  const cause = error instanceof VeneerError && error.cause !== undefined ? error.cause : error;
  const text = messageOf(cause);
  return text.startsWith(what) ? cause : reworded(cause, `${what}: ${text}`);
}
