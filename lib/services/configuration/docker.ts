/**
 * The configuration by which dockerd keeps images and containers in a service of Veneer's.
 *
 * @module
 */
import type { ServiceAddress } from "./service.ts";

/** `daemon.json` of Docker 28 and newer, whose containerd has the snapshotter. */
export function dockerConfiguration({ name }: ServiceAddress): string {
  const configuration = {
    "features": { "containerd-snapshotter": true },
    "storage-driver": name,
  };
  return `${JSON.stringify(configuration, null, 2)}\n`;
}
