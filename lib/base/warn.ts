/**
 * Warnings: what goes on although something is wrong.
 *
 * @module
 */
import type { Remedy } from "./remedy.ts";

/**
 * Tells of one thing that is wrong, in one line, while the rest goes on.
 *
 * @param message names the thing and the reason
 * @param remedy what helps, for the command line to put into words
 */
export type Warn = (message: string, remedy?: Remedy) => void;
