/** What a process that is to be killed does beside its operation. */
import { O_RDONLY, tryOpen } from "../../../ffi/files.ts";

/** A name that nothing else opens: a trace ends where it is looked for. */
export const END_MARK = "/veneer-end-of-operation";

/** What is printed when the operation has returned. */
export const DONE = "done\n";

/** Says that all is ready, waits to be traced, does the operation, says that it is done, and ends. */
export function untilKilled(operation: () => unknown): void {
  const text = new TextEncoder();
  Deno.stdout.writeSync(text.encode("ready\n"));
  Deno.stdin.readSync(new Uint8Array(1));
  operation();
  Deno.stdout.writeSync(text.encode(DONE));
  tryOpen(END_MARK, O_RDONLY);
  Deno.exit(0);
}
