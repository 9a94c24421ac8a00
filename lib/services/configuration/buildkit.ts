/**
 * The configuration with which buildkitd keeps its cache in a service of Veneer's.
 *
 * @module
 */
import { type ServiceAddress, toml } from "./service.ts";

/**
 * The file `buildkitd.toml` for buildkitd's OCI worker, which runs containers without containerd
 * and needs a separate service.
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
