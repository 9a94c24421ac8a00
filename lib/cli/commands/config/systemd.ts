/**
 * `veneer config systemd`: prints a unit that runs the service.
 *
 * @module
 */
import { type ServedEngine, systemdUnit } from "../../../services/configuration/systemd.ts";
import type { CommandContext, Run } from "../context.ts";
import { printConfiguration } from "./print.ts";
import { serviceOf } from "./service.ts";

/** The path of the program after `make install`, for a unit that is printed from source. */
const INSTALLED = "/usr/local/bin/veneer";

export const run: Run = (context) => {
  serviceOf(context);
  const engine = (context.options.value("for") ?? "containerd") as ServedEngine;
  const unit = systemdUnit(engine, [program(), ...serviceWords(context, engine)]);
  printConfiguration(context, unit);
};

/** The path of this program, if it is compiled. */
function program(): string {
  const path = Deno.execPath();
  return path.endsWith("/deno") ? INSTALLED : path;
}

const STORE_OPTIONS = ["root", "driver", "option", "uidmap", "gidmap"];

/** The words after the program: the given options, then the command with its own options. */
function serviceWords({ options }: CommandContext, engine: ServedEngine): string[] {
  const given = (names: readonly string[]) =>
    names.flatMap((name) => options.values(name).map((value) => `--${name}=${value}`));
  return [
    ...given(engine === "docker" ? ["driver", "option"] : STORE_OPTIONS),
    "serve",
    engine,
    ...given(engine === "docker" ? ["address"] : ["address", "name"]),
  ];
}
