/**
 * `veneer snapshot prepare`: makes a snapshot that can be changed.
 *
 * @module
 */
import { makeSnapshot } from "./make.ts";

export const run = makeSnapshot("prepare");
