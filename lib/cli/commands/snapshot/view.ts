/**
 * `veneer snapshot view`: makes a snapshot that can only be read.
 *
 * @module
 */
import { makeSnapshot } from "./make.ts";

export const run = makeSnapshot("view");
