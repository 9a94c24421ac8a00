/**
 * `veneer config docker`: prints the settings for dockerd's configuration.
 *
 * @module
 */
import {
  DOCKER_RELEASES,
  dockerConfiguration,
  dockerEnvironment,
  type DockerRelease,
  dockerRelease,
} from "../../../services/configuration/docker.ts";
import type { Run } from "../context.ts";
import { installedRelease } from "./installed.ts";
import { printConfiguration } from "./print.ts";
import { serviceOf } from "./service.ts";

/** dockerd prints `Docker version VERSION, build REVISION`. */
const VERSION = {
  program: "dockerd",
  version: /^Docker version ([^\s,]+)/,
  releases: DOCKER_RELEASES,
  releaseOf: dockerRelease,
};

export const run: Run = (context) => {
  const { name } = serviceOf(context);
  const release = (context.options.value("for") ?? installedRelease(VERSION)) as DockerRelease;
  const environment = dockerEnvironment(release);
  if (environment !== undefined) context.output.warn(environment);
  printConfiguration(context, dockerConfiguration(release, name));
};
