/**
 * `veneer completions`: prints a shell's completion script.
 *
 * @module
 */
import { type CompletionWords, completionWords } from "../completion_words.ts";
import { bashCompletions } from "../completions_bash.ts";
import { fishCompletions } from "../completions_fish.ts";
import { zshCompletions } from "../completions_zsh.ts";
import type { Run } from "./context.ts";

const SCRIPTS: Readonly<Record<string, (words: CompletionWords) => string>> = {
  bash: bashCompletions,
  zsh: zshCompletions,
  fish: fishCompletions,
};

export const run: Run = async ({ operands: [shell], output }) => {
  const script = SCRIPTS[shell](await completionWords());
  output.result({ shell, script }, () => [script]);
};
