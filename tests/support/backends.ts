import type { LayerBackend } from "../../lib/graph/backend.ts";

/** Makes a layer on a backend, as a graph does for `create` without options. */
export function create(backend: LayerBackend, id: string, parent?: string): void {
  backend.create(id, {
    parent,
    readWrite: false,
    mountLabel: undefined,
    storageOptions: new Map(),
  });
}
