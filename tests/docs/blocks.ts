/** The blocks of code in the documents, and the lines in them that a reader types. */
import { join } from "@std/path";

export const TOP = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");

/** A block of a session (`console`) or of a script (`sh`). */
export interface Block {
  /** The page, from the top of the project. */
  readonly page: string;
  readonly typed: readonly string[];
  /** The lines that are printed. */
  readonly answered: readonly string[];
}

/** README, CONTRIBUTING, the other pages beside them, and those of `docs`. */
const pages: readonly string[] = ["", "docs/"].flatMap((directory) =>
  Array.from(Deno.readDirSync(join(TOP, directory)), ({ name }) => directory + name)
    .filter((page) => page.endsWith(".md"))
).sort();

export const blocks: readonly Block[] = pages.flatMap((page) => {
  const found = Deno.readTextFileSync(join(TOP, page)).matchAll(
    /^```(console|sh)\n([^]*?)^```$/gm,
  );
  return Array.from(found, ([, kind, text]): Block => {
    const lines = text.trimEnd().split("\n");
    if (kind === "sh") {
      return { page, typed: lines.filter((line) => !line.startsWith("#")), answered: [] };
    }
    const isTyped = (line: string) => /^[#$] /.test(line);
    return {
      page,
      typed: lines.filter(isTyped).map((line) => line.slice(2)),
      answered: lines.filter((line) => !isTyped(line)),
    };
  });
});
