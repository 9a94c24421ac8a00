/**
 * `veneer help`: the same as `--help`.
 *
 * @module
 */
import { helpText } from "../cli/help.ts";
import { findCommand } from "../cli/table.ts";
import { VeneerError } from "../errors.ts";
import type { Run } from "./context.ts";

export const run: Run = ({ operands: [name], output }) => {
  const command = name === undefined ? undefined : findCommand(name);
  if (name !== undefined && !command) {
    throw new VeneerError("usage", `there is no command ${JSON.stringify(name)}`);
  }
  output.line(helpText(command));
};
