/**
 * `veneer image shell`: runs a shell in an image.
 *
 * @module
 */
import { SHELL_COMMAND } from "../../run_inside.ts";
import type { Run } from "../context.ts";
import { runInImage } from "./exec.ts";

export const run: Run = (context) => runInImage(context, SHELL_COMMAND);
