/**
 * `veneer help`: prints the same as `--help`, or the help about the options of drivers.
 *
 * @module
 */
import { helpText } from "../help.ts";
import { subjectNamed } from "../parse.ts";
import type { Subject } from "../spec.ts";
import { outputColumns } from "../wrap.ts";
import type { Run } from "./context.ts";

export const run: Run = async ({ operands, output }) => {
  if (operands.join(" ") === "options") {
    const { knownOptions, optionsText } = await import("../options_topic.ts");
    const known = await knownOptions();
    return output.result(
      { help: optionsText(known), options: known },
      () => [optionsText(known, outputColumns())],
    );
  }
  let subject: Subject | undefined;
  for (const word of operands) subject = subjectNamed(word, subject);
  output.result({ help: helpText(subject) }, () => [helpText(subject, outputColumns())]);
};
