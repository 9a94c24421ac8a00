/**
 * The command line.
 *
 * Nothing is imported that the command at hand does not need, so that a program which is asked for
 * its version starts as fast as its runtime does.
 *
 * @module
 */
import { VERSION } from "./lib/cli/version.ts";

if (!isVersionPrinted()) {
  const { runProgram } = await import("./drivers/program.ts");
  Deno.exit(await runProgram(Deno.args));
}

/**
 * Prints the version if only that is asked for. Errors are left to the command, which reports them.
 */
function isVersionPrinted(): boolean {
  if (Deno.args.length !== 1 || Deno.args[0] !== "--version") return false;
  try {
    Deno.stdout.writeSync(new TextEncoder().encode(`veneer ${VERSION}\n`));
    return true;
  } catch {
    return false;
  }
}
