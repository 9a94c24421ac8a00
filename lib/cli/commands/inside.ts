/**
 * The internal command by which this program becomes another program inside a tree.
 *
 *     veneer --inside {"root":…} PROGRAM [ARG...]
 *
 * @module
 */
import { codeOf } from "../../base/errors.ts";
import { becomeInside, CANNOT_RUN, type InsideProgram, NOT_FOUND } from "../../mount/inside.ts";
import { Output } from "../output.ts";

/** Becomes the program. It returns only after a failure, with the exit status. */
export function inside([, program, ...command]: readonly string[]): number {
  try {
    becomeInside({ ...JSON.parse(program) as Omit<InsideProgram, "command">, command });
  } catch (error) {
    const status = new Output(false, "warn").error(error);
    const code = codeOf(error);
    return code === "not found" ? NOT_FOUND : code === "failed" ? CANNOT_RUN : status;
  }
}
