/**
 * `veneer completions`: prints a shell's completion script.
 *
 * @module
 */
import { bashCompletions } from "../cli/completions_bash.ts";
import { fishCompletions } from "../cli/completions_fish.ts";
import { zshCompletions } from "../cli/completions_zsh.ts";
import type { Run } from "./context.ts";

const SCRIPTS: Readonly<Record<string, () => string>> = {
  bash: bashCompletions,
  zsh: zshCompletions,
  fish: fishCompletions,
};

export const run: Run = ({ operands: [shell], output }) => {
  output.line(SCRIPTS[shell]());
};
