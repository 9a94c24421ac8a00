/**
 * `veneer help`: the same as `--help`.
 *
 * @module
 */
import { helpText } from "../cli/help.ts";
import { commandNamed } from "../cli/parse.ts";
import type { Run } from "./context.ts";

export const run: Run = ({ operands: [name], output }) => {
  output.line(helpText(name === undefined ? undefined : commandNamed(name)));
};
