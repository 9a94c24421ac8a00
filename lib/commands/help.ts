/**
 * `veneer help`: the same as `--help`.
 *
 * @module
 */
import { helpText } from "../cli/help.ts";
import { subjectNamed } from "../cli/parse.ts";
import type { Subject } from "../cli/spec.ts";
import type { Run } from "./context.ts";

export const run: Run = ({ operands, output }) => {
  let subject: Subject | undefined;
  for (const word of operands) subject = subjectNamed(word, subject);
  output.line(helpText(subject));
};
