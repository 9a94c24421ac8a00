/**
 * The names of services, and the paths of their stores.
 *
 * @module
 */
import { VeneerError } from "../base/errors.ts";

/** The directory of services' stores below `<root>`. */
export const SERVICES = "services";

/**
 * Checks a service's name, which is also the name of a directory.
 *
 * @param option the option that has the name as its value
 * @throws {VeneerError} `usage` if it is not valid
 */
export function serviceName(name: string, option = "name"): string {
  if (/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/.test(name)) return name;
  throw new VeneerError(
    "usage",
    `option --${option} ${JSON.stringify(name)}: letters, digits, _, . and -, at most 64, ` +
      "the first a letter or digit",
  );
}
