/**
 * Snapshots that need no union mount, because they consist of one directory: a snapshot without a
 * parent shows its own, and a view of a parent that has no parent shows the parent's. They are bind
 * mounts.
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
 * The mount of such a snapshot; `undefined` for others.
 *
 * @param bound the layer whose directory is mounted, as {@linkcode boundLayer} returns it
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
