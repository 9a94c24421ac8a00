/**
 * `veneer snapshot shell`: runs a shell in a snapshot.
 *
 * @module
 */
import { SHELL_COMMAND } from "../../run_inside.ts";
import type { Run } from "../context.ts";
import { runInSnapshot } from "./exec.ts";

export const run: Run = (context) => runInSnapshot(context, SHELL_COMMAND);
