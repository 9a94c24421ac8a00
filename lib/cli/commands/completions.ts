/**
 * `veneer completions`: prints a shell's completion script.
 *
 * @module
 */
import { bashCompletions } from "../completions_bash.ts";
import { fishCompletions } from "../completions_fish.ts";
import { zshCompletions } from "../completions_zsh.ts";
import type { Run } from "./context.ts";

const SCRIPTS: Readonly<Record<string, () => string>> = {
  bash: bashCompletions,
  zsh: zshCompletions,
  fish: fishCompletions,
};

export const run: Run = ({ operands: [shell], output }) => {
  const script = SCRIPTS[shell]();
  output.result({ shell, script }, () => [script]);
};
