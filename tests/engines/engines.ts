/**
 * Engines newer than this distribution's, which `tools/engines.ts` fetched; see `make test-engines`.
 *
 * @module
 */
import { join } from "@std/path";
import type { Engine } from "../services/containerd_support.ts";
import { lacksFileSystem } from "../support/cases.ts";

const DIRECTORY = Deno.env.get("VENEER_ENGINES") ?? "/var/cache/veneer/engines";

/** A path below a suite's directory. */
export const fetched = (suite: string, path: string): string => join(DIRECTORY, suite, path);

/** What goes before `PATH` for the programs of a suite. */
const pathOf = (suite: string) => `${fetched(suite, "usr/bin")}:${fetched(suite, "usr/sbin")}:`;

/** The releases of containerd that cases run with: Debian 12's, 13's and sid's. */
export const CONTAINERDS: Readonly<Record<string, Engine>> = {
  "1.6": { release: "1.6" },
  "1.7": { release: "1.7", path: pathOf("trixie") },
  "2.1": { release: "2.x", path: pathOf("sid") },
};

/** Why no engine can be started here, if none can. */
export function lacksEngines(): string | undefined {
  for (const suite of ["bookworm", "trixie", "sid"]) {
    try {
      Deno.statSync(fetched(suite, "usr/bin"));
    } catch {
      return `${join(DIRECTORY, suite)} is missing: make test-engines fetches it`;
    }
  }
  return lacksFileSystem("overlay");
}
