/**
 * `veneer config systemd`: prints a unit that runs the service.
 *
 * @module
 */
import { systemdUnit } from "../../../services/configuration/systemd.ts";
import type { CommandContext, Run } from "../context.ts";
import { printConfiguration } from "./print.ts";
import { serviceOf } from "./service.ts";

/**
 * Where `make install` puts the program, for a unit that is printed by one that runs from source.
 */
const INSTALLED = "/usr/local/bin/veneer";

export const run: Run = (context) => {
  serviceOf(context);
  printConfiguration(context, systemdUnit([program(), ...serviceWords(context)]));
};

/** This program, if it is the compiled one. */
function program(): string {
  const path = Deno.execPath();
  return path.endsWith("/deno") ? INSTALLED : path;
}

/** The words after the program: the options that were given, then the command with its own. */
function serviceWords({ options }: CommandContext): string[] {
  const given = (names: readonly string[]) =>
    names.flatMap((name) => options.values(name).map((value) => `--${name}=${value}`));
  return [
    ...given(["root", "driver", "option", "uidmap", "gidmap"]),
    "serve",
    "containerd",
    ...given(["address", "name"]),
  ];
}
