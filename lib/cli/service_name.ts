/**
 * What services are called, and where their stores are.
 *
 * @module
 */
import { VeneerError } from "../base/errors.ts";

/** Below `<root>`, where each service has stores of its own. */
export const SERVICES = "services";

/**
 * A service's name is a directory's.
 *
 * @param option that gave it
 * @throws {VeneerError} `usage` if it cannot be one
 */
export function serviceName(name: string, option = "name"): string {
  if (/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/.test(name)) return name;
  throw new VeneerError(
    "usage",
    `option --${option} ${JSON.stringify(name)}: letters, digits, _, . and -, at most 64, ` +
      "the first a letter or digit",
  );
}
