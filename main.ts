/**
 * The command line: brings commands and drivers together.
 *
 * Nothing is imported that the command at hand does not need, so that a program which is asked for its
 * version starts as fast as its runtime does.
 *
 * @module
 */
import { VERSION } from "./lib/version.ts";

if (Deno.args.length === 1 && Deno.args[0] === "--version") {
  Deno.stdout.writeSync(new TextEncoder().encode(`veneer ${VERSION}\n`));
} else {
  const { dispatch } = await import("./lib/commands/dispatch.ts");
  Deno.exit(
    await dispatch(Deno.args, {
      open: async (options) => (await import("./drivers/registry.ts")).openDriver(options),
      definitions: async () => (await import("./drivers/registry.ts")).DRIVERS,
    }),
  );
}
