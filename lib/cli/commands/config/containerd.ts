/**
 * `veneer config containerd`: prints the lines for containerd's configuration.
 *
 * @module
 */
import {
  CONTAINERD_RELEASES,
  containerdConfiguration,
  type ContainerdRelease,
  containerdRelease,
} from "../../../services/configuration/containerd.ts";
import { AUTO } from "../../../../drivers/names.ts";
import { VeneerError } from "../../../base/errors.ts";
import { parseOptions } from "../../../base/options.ts";
import { parseRemap, REMAP_OPTION } from "../../../snapshots/remap.ts";
import type { Run } from "../context.ts";
import { installedRelease } from "./installed.ts";
import { printConfiguration } from "./print.ts";
import { serviceOf } from "./service.ts";

export const run: Run = (context) => {
  const service = serviceOf(context);
  const release = (context.options.value("for") ?? installedRelease(VERSION)) as ContainerdRelease;
  const driver = context.options.value("driver") ?? AUTO;
  const remaps = parseRemap(parseOptions(context.options.values("option")).get(REMAP_OPTION));
  if (remaps) checkRemap(release, driver);
  const text = containerdConfiguration(release, service, { rebases: driver === OVERLAY, remaps });
  printConfiguration(context, text);
};

/**
 * The driver whose layers get their parents at the commit, whose layers containerd writes itself,
 * and whose mounts containerd can map.
 */
const OVERLAY = "overlay2";

/** @throws {VeneerError} `usage` if a service with this option would not work with this release */
function checkRemap(release: ContainerdRelease, driver: string): void {
  if (release !== "2.x") {
    throw new VeneerError(
      "usage",
      `option -o ${REMAP_OPTION}=true: containerd ${release} cannot mount with ids mapped; leave it out, ` +
        "of the service, too",
    );
  }
  if (driver === OVERLAY || driver === AUTO) return;
  throw new VeneerError(
    "usage",
    `option -o ${REMAP_OPTION}=true: ${driver} has no mounts that containerd can map; only ${OVERLAY} has`,
  );
}

/** containerd prints `containerd PACKAGE VERSION REVISION`. */
const VERSION = {
  program: "containerd",
  version: /^\S+\s+\S+\s+(\S+)/,
  releases: CONTAINERD_RELEASES,
  releaseOf: containerdRelease,
};
