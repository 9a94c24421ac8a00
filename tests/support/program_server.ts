/**
 * Runs commands of the program one after the other in one process, which starts once instead of for
 * each command: see `program_client.ts`.
 *
 *     tests/support/program_server.ts DIRECTORY
 *
 * @module
 */
import { join } from "@std/path";

/** One command: a line of JSON in the pipe of requests. */
export interface Request {
  readonly args: readonly string[];
  /** The whole environment. */
  readonly env: Readonly<Record<string, string>>;
  readonly directory: string;
}

/** The pipes in the server's directory, and the files that get the output of commands. */
export const REQUESTS = "requests", REPLIES = "replies", STDOUT = "stdout", STDERR = "stderr";

/** Makes the environment that of a request. */
function setEnvironment(env: Readonly<Record<string, string>>): void {
  for (const name of Object.keys(Deno.env.toObject())) {
    if (!(name in env)) Deno.env.delete(name);
  }
  for (const [name, value] of Object.entries(env)) {
    if (Deno.env.get(name) !== value) Deno.env.set(name, value);
  }
}

/** The lines of a pipe, each when it is complete, until all writers have closed it. */
async function* linesOf(pipe: Deno.FsFile): AsyncGenerator<string> {
  let rest = "";
  for await (const text of pipe.readable.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    yield* lines;
  }
}

if (import.meta.main) {
  // Loaded here, because the client imports this module, and cases need not load the program.
  const { runProgram } = await import("../../drivers/program.ts");
  const [directory] = Deno.args;
  const requests = await Deno.open(join(directory, REQUESTS));
  using replies = await Deno.open(join(directory, REPLIES), { write: true });
  for await (const line of linesOf(requests)) {
    const { args, env, directory }: Request = JSON.parse(line);
    setEnvironment(env);
    Deno.chdir(directory);
    const status = await runProgram(args);
    dispatchEvent(new Event("unload")); // The program ends.
    Deno.chdir("/"); // The case may unmount its directory.
    replies.writeSync(new TextEncoder().encode(`${status}\n`));
  }
  Deno.exit();
}
