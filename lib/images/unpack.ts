/**
 * Unpacking an image's layers, each into a committed snapshot that is named by its chain id.
 *
 * A layer is verified before it counts: its snapshot is committed after the digests of its file and
 * of its content were found to be right. One that is there already is not read again.
 *
 * @module
 */
import { codeOf, messageOf, reworded, VeneerError } from "../base/errors.ts";
import { REFERENCE, shown } from "../snapshots/keys.ts";
import type { Snapshotter } from "../snapshots/snapshotter.ts";
import type { FoundImage, FoundLayer } from "./found_image.ts";
import { LayerStream } from "./layer_stream.ts";
import { DIFF_ID } from "./records.ts";
import type { TarRecords } from "./tar_records.ts";
import { UNPACKED } from "./temporary.ts";
import { tryStat } from "./try_stat.ts";

/** Is told of the layers that are unpacked. */
export interface UnpackReport {
  /**
   * A layer that is to be unpacked now.
   *
   * @param number of the layer in its image, from 1
   * @returns gets the bytes of plain tar that are unpacked, and is disposed of at the end
   */
  layer(chain: string, number: number, count: number): LayerReport | undefined;
}

/** Is told how far a layer is. */
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

/**
 * Unpacks the layers of an image that are missing. The caller holds the lock of images.
 *
 * @param isBounded whether a layer that expands more than a thousandfold is refused
 * @returns the number of layers that were unpacked
 * @throws {VeneerError} `invalid argument` for a layer that is not what it should be
 */
export function unpack(
  { config, layers }: FoundImage,
  snapshotter: Snapshotter,
  records: TarRecords,
  report: UnpackReport,
  isBounded: boolean,
): number {
  const { chains, diffIds } = config;
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
      using stream = next ?? new LayerStream(step.layer, records.create(), isBounded);
      next = undefined;
      // The next one is decompressed ahead, as far as the pipe takes it.
      if (i + 1 < steps.length) {
        next = new LayerStream(steps[i + 1].layer, records.create(), isBounded);
      }
      using progress = report.layer(step.chain, step.number, layers.length);
      unpackLayer(step, stream, snapshotter, records, progress);
    }
  } finally {
    next?.[Symbol.dispose]();
  }
  return steps.length;
}

/**
 * Whether a layer is there.
 *
 * @throws {VeneerError} `already exists` for another snapshot of that name
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
  { layer: { what }, diffId, chain, parent }: Step,
  stream: LayerStream,
  snapshotter: Snapshotter,
  records: TarRecords,
  progress: LayerReport | undefined,
): void {
  const key = keyOf(chain);
  // Left by a process that was killed.
  if (tryStat(snapshotter, key) !== undefined) snapshotter.remove(key);
  snapshotter.prepare(key, parent);
  try {
    const verify = () => void stream.verify(diffId);
    snapshotter.applyDiff(key, stream.output, {
      onProgress: (bytes) => progress?.update(bytes),
      // Asked at the end of the pipe.
      provenWhole: () => (verify(), true),
      beforeComplete: verify,
    });
    verify();
    records.keep(stream.record, diffId);
    const labels = new Map([[REFERENCE, chain], [DIFF_ID, diffId]]);
    snapshotter.commit(chain, key, { labels });
  } catch (error) {
    const failure = failureOf(error, stream, what);
    snapshotter.remove(key);
    throw failure;
  }
}

/** The cause of a failure to unpack a layer. */
function failureOf(error: unknown, stream: LayerStream, what: string): unknown {
  const code = codeOf(error);
  // What the tar is blamed for may be the damage of its file.
  const damage = code === "invalid argument" ? stream.failure() : undefined;
  if (damage !== undefined) return damage;
  // The message tells of a snapshot that is removed.
  const cause = error instanceof VeneerError && error.cause !== undefined ? error.cause : error;
  const text = messageOf(cause);
  return text.startsWith(what) ? cause : reworded(cause, `${what}: ${text}`);
}
