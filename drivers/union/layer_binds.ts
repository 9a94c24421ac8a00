/**
 * Snapshots that need no union mount, since there is nothing to be joined: one on no parent is its
 * own directory, and a view of a parent that has none is that parent's.
 *
 * @module
 */
import { MS_BIND } from "../../ffi/mount.ts";
import { bindReadOnly, type Mount, type MountPlan } from "../../lib/mount/plan.ts";
import type { LayerChain } from "../../lib/snapshots/backend.ts";
import type { LayerDirectories } from "./layer_directories.ts";

/** The layer whose directory alone a snapshot shows, if there is one. */
export function boundLayer({ layer, kind, parents }: LayerChain): string | undefined {
  if (parents.length === 0) return layer;
  return kind !== "active" && parents.length === 1 ? parents[0] : undefined;
}

/**
 * How such a snapshot is mounted; `undefined` for others.
 *
 * @param bound the layer whose directory is mounted, such as {@linkcode boundLayer} has it
 * @throws {VeneerError} `corrupt store`
 */
export function bindMount(
  layers: LayerDirectories,
  chain: LayerChain,
  bound: string | undefined,
): Mount | undefined {
  const source = sourceOf(layers, bound);
  const mode = chain.kind === "active" ? "rw" : "ro";
  return source === undefined ? undefined : { type: "bind", source, options: [mode, "rbind"] };
}

/** The same as a plan. */
export function bindPlan(
  layers: LayerDirectories,
  chain: LayerChain,
  target: string,
  bound: string | undefined,
): MountPlan | undefined {
  const source = sourceOf(layers, bound);
  if (source === undefined) return undefined;
  if (chain.kind !== "active") return { path: target, steps: bindReadOnly(source, target) };
  const step = { kind: "mount", source, target, type: "none", flags: MS_BIND, data: "" } as const;
  return { path: target, steps: [step] };
}

function sourceOf(layers: LayerDirectories, bound: string | undefined): string | undefined {
  if (bound === undefined) return undefined;
  layers.require(bound);
  return layers.path(bound).text;
}
