/**
 * What dockerd's configuration needs, so that it keeps images and containers in a service of Veneer's.
 *
 * @module
 */
import type { ServiceAddress } from "./service.ts";

/** The first release that keeps images in containerd without being called experimental. */
export const FIRST_RELEASE = 28;

/** `daemon.json` of Docker 28 and newer, whose containerd has the snapshotter. */
export function dockerConfiguration({ name }: ServiceAddress): string {
  const configuration = {
    "features": { "containerd-snapshotter": true },
    "storage-driver": name,
  };
  return `${JSON.stringify(configuration, null, 2)}\n`;
}
