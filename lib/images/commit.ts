/**
 * Makes an image of a snapshot: a new layer of its changes, and a new config.
 *
 * @module
 */
import { close, pread } from "../../ffi/files.ts";
import { VeneerError } from "../base/errors.ts";
import { shown } from "../snapshots/keys.ts";
import type { Snapshots } from "../snapshots/snapshots.ts";
import type { Home } from "../store/home.ts";
import { diffIdsOf } from "./chain.ts";
import { changed, type RunConfig } from "./config_changes.ts";
import { checkCount } from "./config.ts";
import { chainIds, digest, digestOf, newHash } from "./digest.ts";
import { parseJson } from "./json.ts";
import { HOST } from "./platform.ts";
import { DIFF_ID, type ImageRecord, layerLabels, type NewImage } from "./records.ts";
import { openStaged } from "./spool.ts";
import { RecordWriter } from "./tar_record.ts";
import type { TarRecords } from "./tar_records.ts";
import { TarSplitter } from "./tar_splitter.ts";
import { tryStat } from "./try_stat.ts";

/** The details of a new image. */
export interface CommitImageOptions {
  readonly message?: string;
  readonly author?: string;
  /** Lines of a Dockerfile: see `config_changes.ts`. */
  readonly changes?: readonly string[];
  /** The image's time, in milliseconds since 1970. */
  readonly time: number;
}

/** The parts of the store that a commit uses. */
export interface CommitContext {
  readonly snapshots: Snapshots;
  readonly records: TarRecords;
  readonly home: Home;
  /** Whether the new layer is offered to containerd. */
  readonly isOffered: boolean;
}

/** The parts of a config that a new config uses. */
interface BaseConfig extends Record<string, unknown> {
  readonly config?: RunConfig;
  readonly history?: readonly unknown[];
}

/** The bytes of a layer that are read at a time. */
const PIECE = 256 << 10;

/**
 * Commits an active snapshot under the chain id of its new layer. This removes its key.
 *
 * @param base the image below it; `undefined` if there is none
 * @throws {VeneerError} `failed precondition` if its parent is not an image's layer; `in use` if it
 * is mounted
 */
export function commitImage(
  key: string,
  base: ImageRecord | undefined,
  context: CommitContext,
  options: CommitImageOptions,
): Omit<NewImage, "names"> {
  const { snapshots, isOffered } = context;
  const info = snapshots.stat(key);
  if (info.kind !== "active") {
    throw new VeneerError(
      "failed precondition",
      `snapshot ${shown(key)} is not active: only an active one can be made an image`,
    );
  }
  snapshots.checkUnused(key);
  const below = diffIdsOf(snapshots, info.parent);
  checkCount(below.length + 1, `an image of snapshot ${shown(key)}`);
  const previous = base === undefined ? {} : parseJson(base.config, base.id) as BaseConfig;
  const run = changed(previous.config ?? {}, options.changes ?? []);
  const diffId = recordLayer(key, context);
  const diffIds = [...below, diffId], chain = chainIds(diffIds).at(-1)!;
  if (tryStat(snapshots, chain)?.labels.has(DIFF_ID)) snapshots.remove(key);
  else snapshots.commit(chain, key, { labels: layerLabels(chain, diffId, isOffered) });
  const config = new TextEncoder().encode(
    JSON.stringify(newConfig(previous, run, diffIds, options)),
  );
  return { id: digest(config), config, manifest: null, snapshot: chain };
}

/**
 * The config of a new image.
 *
 * @param previous the config of the image below, whose other parts are kept
 * @param run the part about running it
 * @param diffIds the digests of all its layers, the lowest first
 */
export function newConfig(
  previous: BaseConfig,
  run: RunConfig,
  diffIds: readonly string[],
  { message, author, time, madeOf = "a snapshot" }: CommitImageOptions & { madeOf?: string },
): unknown {
  const created = new Date(time).toISOString();
  const step = {
    created,
    created_by: `commit of ${madeOf}`,
    ...author !== undefined && { author },
    ...message !== undefined && { comment: message },
  };
  const { architecture, os } = HOST;
  return {
    architecture,
    os,
    ...previous,
    created,
    ...author !== undefined && { author },
    config: run,
    rootfs: { type: "layers", diff_ids: diffIds },
    history: [...Array.isArray(previous.history) ? previous.history : [], step],
  };
}

/** Writes a snapshot's changes as a tar, and keeps the tar's record; returns the tar's digest. */
function recordLayer(key: string, { snapshots, records, home }: CommitContext): string {
  const spool = openStaged(home);
  try {
    const size = snapshots.diff(key, spool), hash = newHash("sha256");
    const record = records.create();
    try {
      const writer = new RecordWriter(record), splitter = new TarSplitter(writer);
      for (let at = 0; at < size;) {
        const piece = new Uint8Array(Math.min(PIECE, size - at));
        const got = pread(spool, piece, piece.length, BigInt(at));
        if (got === 0) throw new VeneerError("failed", "the file of the new layer was cut short");
        const bytes = piece.subarray(0, got);
        hash.update(bytes);
        splitter.push(bytes);
        at += got;
      }
      splitter.end();
      writer.end();
      const diffId = digestOf("sha256", hash);
      records.keep(record, diffId);
      return diffId;
    } finally {
      close(record);
    }
  } finally {
    close(spool);
  }
}
