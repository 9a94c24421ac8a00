/**
 * `veneer help`: the same as `--help`.
 *
 * @module
 */
import { helpText } from "../help.ts";
import { subjectNamed } from "../parse.ts";
import type { Subject } from "../spec.ts";
import { outputColumns } from "../wrap.ts";
import type { Run } from "./context.ts";

export const run: Run = ({ operands, output }) => {
  let subject: Subject | undefined;
  for (const word of operands) subject = subjectNamed(word, subject);
  output.result({ help: helpText(subject) }, () => [helpText(subject, outputColumns())]);
};
