/**
 * The exit statuses of commands.
 *
 * @module
 */
import type { ErrorCode } from "../base/errors.ts";

/**
 * The exit status of a command that ends with an error of each kind. Scripts rely on these numbers.
 */
export const EXIT_STATUS: Readonly<Record<ErrorCode, number>> = {
  "failed": 1,
  "usage": 2,
  "not found": 3,
  "already exists": 4,
  "in use": 5,
  "not supported": 6,
  "invalid argument": 7,
  "failed precondition": 8,
  "incompatible": 9,
  "corrupt store": 10,
  "limit exceeded": 11,
};

/** The exit status of a check that found damage. No error has it: the check itself went well. */
export const DAMAGE_FOUND = 12;
