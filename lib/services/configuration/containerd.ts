/**
 * The configuration with which containerd keeps images and containers in a service of Veneer's.
 *
 * @module
 */
import { type ServiceAddress, toml } from "./service.ts";

/** Releases whose configurations differ, the oldest first. */
export const CONTAINERD_RELEASES = ["1.6", "1.7", "2.x"] as const;
export type ContainerdRelease = typeof CONTAINERD_RELEASES[number];

/** The release that a version belongs to, such as `1.7.24`; `undefined` for an unknown one. */
export function containerdRelease(version: string): ContainerdRelease | undefined {
  const [, major, minor] = version.match(/^v?(\d+)\.(\d+)\./) ?? [];
  if (Number(major) >= 2) return "2.x";
  return CONTAINERD_RELEASES.find((release) => release === `${major}.${minor}`);
}

/** Go's name of this host's architecture, which is part of platforms' names. */
const ARCHITECTURE = Deno.build.arch === "x86_64" ? "amd64" : "arm64";

/** The known capabilities of a service. */
export interface Capabilities {
  /**
   * Layers get their parents at the commit, so 2.x may unpack the layers of an image in parallel.
   */
  readonly rebases: boolean;
  /** For labels with id maps the service returns mounts to be mapped; only 2.x performs them. */
  readonly remaps: boolean;
}

/** The line of them, if there are any. */
function list({ rebases, remaps }: Capabilities): string {
  const names = [...rebases ? ["rebase"] : [], ...remaps ? ["remap-ids"] : []];
  return names.length === 0 ? "" : `  capabilities = [${names.map(toml).join(", ")}]\n`;
}

/**
 * The lines to add to containerd's configuration.
 *
 * - `exports.root` shows Kubernetes the file system of the images; older releases of 1.6 refuse the
 *   key.
 * - `unpack_config` is a list that replaces containerd's default, so it contains the default as
 *   well as our entry. Without an entry for a snapshotter, 2.x pulls an image and does not unpack
 *   it.
 * - `capabilities` tells 2.x what the service can: {@linkcode Capabilities}.
 */
export function containerdConfiguration(
  release: ContainerdRelease,
  { address, name, directory }: ServiceAddress,
  capabilities: Capabilities,
): string {
  const plugin = `[proxy_plugins.${toml(name)}]
  type = "snapshot"
  address = ${toml(address)}
`;
  const exports = `  [proxy_plugins.${toml(name)}.exports]
    root = ${toml(directory)}
`;
  const kubernetes = `# For Kubernetes:
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = ${toml(name)}
`;
  switch (release) {
    case "1.6":
      return `version = 2\n\n${plugin}\n${kubernetes}`;
    case "1.7":
      return `version = 2\n\n${plugin}${exports}\n${kubernetes}`;
    case "2.x":
      return `version = 3

${plugin}${list(capabilities)}${exports}
# For Kubernetes:
[plugins."io.containerd.cri.v1.images"]
  snapshotter = ${toml(name)}

# Images are unpacked for the snapshotters of this list alone, which replaces containerd's own.
[[plugins."io.containerd.transfer.v1.local".unpack_config]]
  platform = "linux/${ARCHITECTURE}"
  snapshotter = ${toml(name)}
  differ = "walking"
[[plugins."io.containerd.transfer.v1.local".unpack_config]]
  platform = "linux/${ARCHITECTURE}"
  snapshotter = "overlayfs"
  differ = "walking"
`;
  }
}
