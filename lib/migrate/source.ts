/**
 * The source of a migration: a store whose members are listed and read, and never changed.
 *
 * @module
 */
import { EPIPE, SyscallError } from "../../ffi/errno.ts";
import { withFd } from "../../ffi/files.ts";
import { messageOf, VeneerError } from "../base/errors.ts";
import type { OpenStore } from "../base/opened.ts";
import type { StatusLine } from "../base/status.ts";
import type { Warn } from "../base/warn.ts";
import type { Graph } from "../graph/graph.ts";
import type { Bytes } from "../services/bytes.ts";
import type { Snapshots } from "../snapshots/snapshots.ts";
import { type Call, sendResult } from "./calls.ts";
import { MovedImages } from "./images.ts";
import type { Member } from "./member.ts";

/** An end of a migration, in its lane. */
export abstract class End implements Disposable {
  /** @param store is closed with it */
  constructor(private readonly store: Omit<OpenStore, keyof Disposable>) {}

  abstract perform(call: Call, emit: (bytes: Bytes) => void): void;

  get name(): string {
    return this.store.name;
  }

  get home(): string {
    return this.store.home;
  }

  status(): readonly StatusLine[] {
    return this.store.status();
  }

  close(): void {
    this.store.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** The error of a call that an end does not know. */
export const strayCall = ({ kind }: Call) => new VeneerError("failed", `a stray call: ${kind}`);

/** Writes a tar to a pipe, which is closed. If its reader has gone, that is the reader's failure. */
export function writeTar(output: number, write: (output: number) => void): void {
  try {
    withFd(output, write);
  } catch (error) {
    if (!(error instanceof SyscallError && error.errno === EPIPE)) throw error;
  }
}

/** The value of a call, or `undefined` with a warning. */
function tryValue<T>(warn: Warn, what: string, value: () => T): T | undefined {
  try {
    return value();
  } catch (error) {
    warn(`${what}: ${messageOf(error)}`);
    return undefined;
  }
}

/** How changes are read. */
const DIFF = { allNames: true };

/** Layers. */
export class LayerSource extends End {
  constructor(readonly graph: Graph, readonly warn: Warn) {
    super(graph);
  }

  perform(call: Call, emit: (bytes: Bytes) => void): void {
    if (call.kind === "list") return sendResult(emit, this.#list(call.isMeasured));
    if (call.kind !== "diff") throw strayCall(call);
    const { id, isWhole, output } = call;
    writeTar(output, (fd) => this.graph.diff(id, isWhole ? "" : undefined, fd, DIFF));
  }

  #list(isMeasured: boolean): Member[] {
    const layers = this.graph.layers();
    const parents = new Set(layers.map(({ parent }) => parent));
    return layers.map((layer): Member => {
      const { id, parent = "", incomplete, references, mountPoint } = layer;
      // One with children is mounted read-only.
      const isWritable = (references > 0 || mountPoint !== undefined) && !parents.has(id);
      const obstacle = incomplete
        ? "it is incomplete: a tar was not applied to its end"
        : isWritable
        ? `it is mounted${mountPoint === undefined ? "" : ` at ${mountPoint}`}: unmount it first`
        : undefined;
      const loss = layer.parent === undefined
        ? "its parent is not recorded: it is migrated whole"
        : undefined;
      const of = `layer ${id}`;
      const limits = tryValue(this.warn, `limits of ${of}`, () => this.graph.storageOptions(id));
      return {
        id,
        parent,
        kind: "layer",
        obstacle,
        loss,
        storageOptions: Object.fromEntries(limits ?? []),
        bytes: isMeasured
          ? tryValue(this.warn, `size of ${of}`, () => this.graph.diskUsage(id))
          : undefined,
      };
    });
  }
}

/** Snapshots, and the images that are made of them. */
export class SnapshotSource extends End {
  #opened: MovedImages | undefined;

  constructor(readonly snapshots: Snapshots, readonly warn: Warn) {
    super(snapshots);
  }

  perform(call: Call, emit: (bytes: Bytes) => void): void {
    switch (call.kind) {
      case "list":
        return sendResult(emit, this.#list(call.isMeasured));
      case "diff": {
        const { id, isWhole, output } = call;
        const options = isWhole ? { ...DIFF, parent: "" } : DIFF;
        return writeTar(output, (fd) => this.snapshots.diff(id, fd, options));
      }
      case "images":
        return sendResult(emit, this.#images.list());
      case "tar record":
        return writeTar(call.output, (fd) => this.#images.writeTarRecord(call.diffId, fd));
      default:
        throw strayCall(call);
    }
  }

  #list(isMeasured: boolean): Member[] {
    return [...this.snapshots.recorded()].map((info): Member => {
      const { name, parent, kind, labels, created, updated, incomplete } = info;
      return {
        id: name,
        parent,
        kind,
        labels: Object.fromEntries(labels),
        created,
        updated,
        obstacle: incomplete
          ? "it is incomplete: a tar was not applied to its end"
          : kind === "active"
          ? this.#use(name)
          : undefined,
        bytes: isMeasured
          ? tryValue(this.warn, `size of ${name}`, () => this.snapshots.usage(name).bytes)
          : undefined,
      };
    });
  }

  /** Who could write to an active snapshot. */
  #use(key: string): string | undefined {
    try {
      this.snapshots.checkUnused(key);
      return undefined;
    } catch (error) {
      return messageOf(error);
    }
  }

  /** The images, opened when they are first asked for: an old read-only store has none. */
  get #images(): MovedImages {
    return this.#opened ??= new MovedImages(this.snapshots);
  }
}
