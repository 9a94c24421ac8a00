/**
 * A store of layers that a service keeps for an engine alone.
 *
 * The engine counts in its own memory, and forgets its counts when it is restarted. Opened with
 * `foreignUses: "ignore"`, a store takes any mount at a layer's place for the engine's: `get`
 * counts it and returns its path, for any options of the mount, and a lazy `put` warns of processes
 * that use it. The home's own mount is not released behind each `put`: a container whose mounts
 * propagate from here would see the next one cover its root while it is being started, and fail.
 *
 * @module
 */
import type { FileArgument } from "../base/descriptors.ts";
import type { TransferOptions } from "../base/transfer_options.ts";
import type { GraphDriver, ParentArgument } from "./driver.ts";

/** Options of a removal. */
export interface RemoveOptions {
  /** Also remove a layer that has counted users: their mount is taken down. */
  readonly endUses?: boolean;
}

/** Options of an apply. */
export interface EngineApplyOptions extends TransferOptions {
  /**
   * The layer is marked incomplete before the first byte is read: a stream that breaks off leaves
   * it marked wherever it does. Otherwise input that is not a tar leaves the layer as it was.
   */
  readonly marksFirst?: boolean;
}

export interface EngineStore extends GraphDriver {
  /** @throws as {@linkcode GraphDriver.remove}; with `endUses` not for counted users */
  remove(id: string, options?: RemoveOptions): void;

  /** As {@linkcode GraphDriver.applyDiff}. */
  applyDiff(
    id: string,
    parent: ParentArgument,
    input: FileArgument,
    options?: EngineApplyOptions,
  ): number;

  /**
   * Begins for an engine that was started: makes the home a private mount, which stays until
   * `cleanup`, and sets each layer's count: 1 if something is mounted at its place, by any
   * program, else 0.
   */
  recount(): void;
}
