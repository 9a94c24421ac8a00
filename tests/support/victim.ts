/**
 * Something of root's that planted links lead to: whatever a store does, it stays as it is.
 */
import { assertEquals } from "@std/assert";
import { must } from "./cases.ts";

/** A directory with a file and directories, of which some are empty; to be looked at when the case is over. */
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

  /** Every entry with its type, mode, owner and times of change, and every file's content. */
  #manifest(): string {
    return must("find", this.path, "-printf", "%P %y %m %U:%G %C@ %T@ %s %l\n");
  }

  assertUntouched(what = ""): void {
    assertEquals(this.#manifest(), this.#before, what);
  }
}
