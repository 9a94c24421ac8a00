/**
 * Makes directories in a directory as fast as it can, until that is removed or 20 seconds are over.
 * It prints `ready`, and begins when its input ends.
 *
 *     writer.ts DIRECTORY
 */
import { entryName } from "../../ffi/entry_name.ts";
import { O_DIRECTORY, O_RDONLY, open, withFd } from "../../ffi/files.ts";
import { tryMkdirat } from "../../ffi/names.ts";

if (import.meta.main) {
  const own = crypto.randomUUID();
  withFd(open(Deno.args[0], O_RDONLY | O_DIRECTORY), (directory) => {
    console.log("ready");
    Deno.stdin.readSync(new Uint8Array(1));
    const end = Date.now() + 20_000;
    const make = (i: number) => tryMkdirat(directory, entryName(`${own}-${i}`), 0o700);
    for (let i = 0; make(i) === 0 && Date.now() < end; i++);
  });
}
