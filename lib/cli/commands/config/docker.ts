/**
 * `veneer config docker`: prints what dockerd's configuration needs.
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
