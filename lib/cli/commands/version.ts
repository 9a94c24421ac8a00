/**
 * `veneer version`: prints the versions of the program and of its runtime.
 *
 * @module
 */
import { VERSION } from "../version.ts";
import type { Run } from "./context.ts";

export const run: Run = ({ output }) => {
  const value = { version: VERSION, deno: Deno.version.deno, target: Deno.build.target };
  output.result(value, () => [`veneer ${VERSION} (Deno ${value.deno}, ${value.target})`]);
};
