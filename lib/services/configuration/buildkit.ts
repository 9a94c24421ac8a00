/**
 * The configuration by which buildkitd keeps its cache in a service of Veneer's.
 *
 * @module
 */
import { type ServiceAddress, toml } from "./service.ts";

/**
 * `buildkitd.toml` for its own worker, which runs containers by itself and needs a service of its
 * own.
 */
export function buildkitConfiguration({ address, name }: ServiceAddress): string {
  return `[worker.oci]
  enabled = true
  snapshotter = ${toml(name)}
  proxySnapshotterPath = ${toml(address)}

[worker.containerd]
  enabled = false
`;
}
