/** Each command line that the documents show is one that the program takes: its command, options and operands. */
import { assert, assertEquals } from "@std/assert";
import { parseCommandLine } from "../../lib/cli/parse.ts";
import { blocks } from "./blocks.ts";

/** The words after each `veneer` of a line, up to a pipe, another command, a redirection or a comment. */
function commandsOf(line: string): string[][] {
  const WORD = /\s*('[^']*'|"[^"]*"|[^\s'"|<>&;()#]+)/y;
  const COMMAND = /(?:^\s*|[(|&;!]\s*|sudo )(?:dist\/)?veneer(?= )/g;
  return Array.from(line.matchAll(COMMAND), (match) => {
    const words: string[] = [];
    WORD.lastIndex = match.index + match[0].length;
    for (let found = WORD.exec(line); found !== null; found = WORD.exec(line)) {
      // A word of several parts, such as team="a b".
      const isApart = /^\s/.test(found[0]);
      const part = found[1].replace(/^(['"])(.*)\1$/, "$2");
      if (isApart) words.push(part);
      else words.push((words.pop() ?? "") + part);
    }
    return words;
  });
}

Deno.test("docs: every command line that is shown is one that the program takes", () => {
  assertEquals(commandsOf(`m=$(veneer mount app) && veneer rm 'a b' x="c d" | cat # veneer`), [
    ["mount", "app"],
    ["rm", "a b", "x=c d"],
  ]);
  const refused: string[] = [];
  let count = 0;
  for (const line of blocks.flatMap(({ typed }) => typed)) {
    for (const words of commandsOf(line)) {
      count++;
      try {
        parseCommandLine(words);
      } catch (error) {
        refused.push(`${line}: ${error instanceof Error ? error.message : error}`);
      }
    }
  }
  assert(count > 150, `${count} commands`);
  assertEquals(refused, []);
});
