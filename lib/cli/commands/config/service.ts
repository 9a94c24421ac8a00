/**
 * The service that a command's options name.
 *
 * @module
 */
import { join } from "@std/path";
import { VeneerError } from "../../../base/errors.ts";
import {
  DEFAULT_ADDRESS,
  DEFAULT_NAME,
  type ServiceAddress,
} from "../../../services/configuration/service.ts";
import { serviceName, SERVICES } from "../../service_name.ts";
import type { CommandContext } from "../context.ts";

/**
 * The service of `--address`, `--name` and `--root`.
 *
 * @throws {VeneerError} `usage` if one of them is invalid
 */
export function serviceOf(
  { options, root }: CommandContext,
  defaults = { address: DEFAULT_ADDRESS, name: DEFAULT_NAME },
): ServiceAddress {
  const address = (options.value("address") ?? defaults.address).replace(/^unix:\/\//, "");
  requireAbsolute("address", address);
  requireAbsolute("root", root);
  const name = serviceName(options.value("name") ?? defaults.name);
  return {
    address,
    name,
    directory: join(root, SERVICES, name),
  };
}

/** A relative path has another meaning for a program that is started in another directory. */
function requireAbsolute(option: string, path: string): void {
  if (path.startsWith("/")) return;
  throw new VeneerError(
    "usage",
    `option --${option} ${JSON.stringify(path)}: a configuration needs an absolute path`,
  );
}
