/**
 * `veneer shell`: runs a shell in a layer.
 *
 * @module
 */
import { SHELL_COMMAND } from "../run_inside.ts";
import type { Run } from "./context.ts";
import { runInLayer } from "./exec.ts";

export const run: Run = (context) => runInLayer(context, SHELL_COMMAND);
