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
import type { Run } from "../context.ts";
import { installedRelease } from "./installed.ts";
import { printConfiguration } from "./print.ts";
import { serviceOf } from "./service.ts";

export const run: Run = (context) => {
  const service = serviceOf(context);
  const release = context.options.value("for") ?? installedRelease(VERSION);
  const text = containerdConfiguration(
    release as ContainerdRelease,
    service,
    context.options.value("driver") === REBASING,
  );
  printConfiguration(context, text);
};

/** The driver whose layers get their parents at the commit, and are written as containerd does. */
const REBASING = "overlay2";

/** It prints `containerd PACKAGE VERSION REVISION`. */
const VERSION = {
  program: "containerd",
  version: /^\S+\s+\S+\s+(\S+)/,
  releases: CONTAINERD_RELEASES,
  releaseOf: containerdRelease,
};
