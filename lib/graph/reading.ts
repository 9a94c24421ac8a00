/**
 * Reading a layer's changes, while the layer is kept from being changed or removed.
 *
 * @module
 */
import { checkId } from "../base/ids.ts";
import {
  type Delta,
  nativeDelta,
  type NativeDiff,
  OpenChanges,
  treeDelta,
} from "../tar/export/delta.ts";
import type { ParentArgument } from "./driver.ts";
import type { Layers } from "./layers.ts";
import type { MountedLayers } from "./mounted_layers.ts";
import type { Transfers } from "./transfers.ts";

/** Opens the changes of one store's layers. */
export class Reading {
  constructor(
    readonly layers: Layers,
    readonly mounted: MountedLayers,
    readonly transfers: Transfers,
  ) {}

  /** Opens a layer's changes against a parent; `scope` releases all that this takes. */
  open(id: string, parent: ParentArgument, scope: DisposableStack): Delta {
    const { layers, transfers } = this;
    checkId(id);
    scope.use(transfers.begin(id, "shared"));
    const { base, native } = layers.hold(() => this.#find(id, parent, scope));
    if (native !== undefined) return nativeDelta(native);
    if (base !== "") scope.use(transfers.begin(base, "shared"));
    const parentRoot = base === "" ? undefined : this.#mount(base);
    return treeDelta(this.#mount(id), parentRoot);
  }

  /** Checks a layer, and finds its parent and the driver's own way to read its changes. */
  #find(
    id: string,
    parent: ParentArgument,
    scope: DisposableStack,
  ): { readonly base: string; readonly native: NativeDiff | undefined } {
    const { layers } = this;
    const { backend } = layers;
    layers.require(id);
    layers.requireComplete(id);
    layers.idMaps(id);
    const base = layers.parent(id, parent);
    const native = base === backend.parent(id)
      ? backend.nativeDiff(id, () => this.#scratch(scope))
      : undefined;
    return { base, native };
  }

  /** Opens them to be read one by one. @throws as {@linkcode open} */
  changes(id: string, parent: ParentArgument): OpenChanges {
    using scope = new DisposableStack();
    const delta = this.open(id, parent, scope);
    return new OpenChanges(delta, scope.move());
  }

  /** A staging name for a transfer: locked, and disposed of at the transfer's end. */
  #scratch(scope: DisposableStack): string {
    const { state, staged } = this.layers;
    const name = `.${crypto.randomUUID()}`;
    scope.use(state.lockLayer(name));
    scope.defer(() => staged.finish(name));
    return name;
  }

  /**
   * Requires a begun transfer. A layer that is mounted already is read through that mount,
   * read-only or not.
   */
  #mount(id: string): string {
    using lock = this.layers.lock(id);
    this.layers.require(id);
    this.layers.requireComplete(id);
    return this.mounted.getForTransfer(id, lock, { readOnly: true });
  }
}
