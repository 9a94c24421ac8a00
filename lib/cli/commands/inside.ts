/**
 * The program as it starts itself to become another one inside a tree: not a command of a user's.
 *
 *     veneer --inside {"root":…} PROGRAM [ARG...]
 *
 * @module
 */
import { codeOf } from "../../base/errors.ts";
import { becomeInside, CANNOT_RUN, type InsideProgram, NOT_FOUND } from "../../mount/inside.ts";
import { Output } from "../output.ts";

/** Becomes the program; returns the exit status if it cannot. */
export function inside([, program, ...command]: readonly string[]): number {
  try {
    becomeInside({ ...JSON.parse(program) as Omit<InsideProgram, "command">, command });
  } catch (error) {
    const status = new Output(false, "warn").error(error);
    const code = codeOf(error);
    return code === "not found" ? NOT_FOUND : code === "failed" ? CANNOT_RUN : status;
  }
}
