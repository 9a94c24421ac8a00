/**
 * The names of services, and the paths of their stores.
 *
 * @module
 */
import { VeneerError } from "../base/errors.ts";

/** The directory of services' stores below `<root>`. */
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
