/**
 * Warnings: faults that do not stop an operation.
 *
 * @module
 */
import type { VeneerError } from "./errors.ts";
import type { Remedy } from "./remedy.ts";

/**
 * Tells of one thing that is wrong, in one line, while the rest goes on.
 *
 * @param message names the thing and the reason
 * @param remedy an act that helps, for the command line to word
 */
export type Warn = (message: string, remedy?: Remedy) => void;

/** Tells of an error as a warning. */
export const warningOf = (warn: Warn) => ({ message, remedy }: VeneerError): void =>
  warn(message, remedy);
