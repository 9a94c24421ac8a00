/**
 * `veneer config docker`: prints the settings for dockerd's configuration.
 *
 * @module
 */
import { dockerConfiguration } from "../../../services/configuration/docker.ts";
import type { Run } from "../context.ts";
import { printConfiguration } from "./print.ts";
import { serviceOf } from "./service.ts";

export const run: Run = (context) => {
  printConfiguration(context, dockerConfiguration(serviceOf(context)));
};
