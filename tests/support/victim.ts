/**
 * A directory of root's that is the target of planted links. No operation on a store may change it.
 */
import { assertEquals } from "@std/assert";
import { must } from "./cases.ts";

/** A directory with a file and directories, some of them empty. Cases check it at their end. */
export class Victim {
  readonly #before: string;

  constructor(readonly path: string) {
    for (const name of ["diff", "work", "empty", "merged", "l", "fs"]) {
      Deno.mkdirSync(`${path}/${name}`, { recursive: true });
    }
    Deno.writeTextFileSync(`${path}/precious`, "precious");
    Deno.writeTextFileSync(`${path}/diff/file`, "inner");
    this.#before = this.#manifest();
  }

  /** Every entry with its type, mode, owner, times of change, size and link target. */
  #manifest(): string {
    return must("find", this.path, "-printf", "%P %y %m %U:%G %C@ %T@ %s %l\n");
  }

  assertUntouched(what = ""): void {
    assertEquals(this.#manifest(), this.#before, what);
  }
}
