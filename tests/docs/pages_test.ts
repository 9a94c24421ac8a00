/** The pages that the program's tables make are as the tables are now, and a manual's reader can read them. */
import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { usageLine } from "../../lib/cli/help.ts";
import { formatted, pages } from "../../tools/docs.ts";
import { optionWords, SECTIONS } from "../../tools/docs/reference.ts";
import { lacksProgram, must, needs, run } from "../support/cases.ts";

const DOCS = new URL("../../docs/", import.meta.url).pathname;

for (const [name, text] of Object.entries(await pages())) {
  Deno.test(`docs: ${name} is as the tables are: \`make docs\` writes it`, async () => {
    assertEquals(Deno.readTextFileSync(join(DOCS, name)), await formatted(name, text));
  });
}

const MANUAL = join(DOCS, "veneer.1");

needs(lacksProgram("groff"), "docs: the manual page has no error, and no line is cut", () => {
  const { code, stderr } = run("groff", "-man", "-Tutf8", "-ww", "-rLL=80n", "-z", MANUAL);
  assertEquals([code, stderr], [0, ""]);
});

needs(lacksProgram("man"), "docs: the manual page has every command, option and example", () => {
  // Wide, so that nothing is broken; without hyphens and without the spaces that justify.
  const shown = must(
    "env",
    "MANWIDTH=400",
    "MANROFFOPT=-rHY=0",
    "man",
    "--no-hyphenation",
    "--no-justification",
    MANUAL,
  );
  const flat = (text: string) => text.replaceAll("…", "...").replaceAll(/\s+/g, " ");
  const text = flat(shown);
  for (const command of SECTIONS.flatMap(({ commands }) => commands)) {
    const lines = command.examples.map(([line]) => line);
    const words = [usageLine(command).slice("veneer ".length), ...lines];
    for (const word of [...words, ...command.options.map(optionWords)]) {
      assert(text.includes(flat(word)), `${command.name}: ${word}`);
    }
  }
});
