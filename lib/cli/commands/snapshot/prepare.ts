/**
 * `veneer snapshot prepare`: makes a snapshot to be changed.
 *
 * @module
 */
import { makeSnapshot } from "./make.ts";

export const run = makeSnapshot("prepare");
