/**
 * The configuration with which dockerd keeps images and containers in a service of Veneer's.
 *
 * @module
 */

/**
 * Releases whose configurations differ, the oldest first. Those before 28 use the service as a
 * graph driver plugin; those from 28 on keep images in containerd, which uses the service as a
 * snapshotter.
 */
export const DOCKER_RELEASES = ["20.10-26", "27", "28+"] as const;
export type DockerRelease = typeof DOCKER_RELEASES[number];

/** The variable that Docker 27 needs to load a plugin for a graph driver. */
const PLUGINS_OF_27 = "DOCKERD_DEPRECATED_GRAPHDRIVER_PLUGINS=1";

/** The release that a version belongs to, such as `26.1.5`; `undefined` for an unknown one. */
export function dockerRelease(version: string): DockerRelease | undefined {
  const [, major, minor] = version.match(/^(\d+)\.(\d+)\b/) ?? [];
  const release = Number(major) + Number(minor) / 100;
  if (release >= 28) return "28+";
  if (release >= 27) return "27";
  return release >= 20.1 ? "20.10-26" : undefined;
}

/**
 * `daemon.json`.
 *
 * @param name the name of the plugin's socket without `.sock`, or of containerd's snapshotter
 */
export function dockerConfiguration(release: DockerRelease, name: string): string {
  const configuration = {
    ...release === "28+"
      ? { "features": { "containerd-snapshotter": true } }
      : { "experimental": true },
    "storage-driver": name,
  };
  return `${JSON.stringify(configuration, null, 2)}\n`;
}

/** A line on the settings that a release needs besides `daemon.json`, if there are any. */
export function dockerEnvironment(release: DockerRelease): string | undefined {
  if (release !== "27") return undefined;
  return `dockerd 27 also needs ${PLUGINS_OF_27} in its environment, such as by Environment= in its unit`;
}
