/**
 * The exit statuses of commands.
 *
 * @module
 */
import type { ErrorCode } from "../base/errors.ts";

/** The exit status of a command for each kind of error. Scripts rely on these numbers. */
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

/**
 * The exit status of a check that found damage. It is not an error's: the check itself succeeded.
 */
export const DAMAGE_FOUND = 12;
