/** What the texts of the library and the drivers may name. */
import { assert, assertEquals } from "@std/assert";
import { DRIVERS } from "../../drivers/names.ts";
import { COMMANDS, GLOBAL_OPTIONS, GROUPS } from "../../lib/cli/table.ts";
import { sources } from "./sources.ts";

Deno.test("outside the command line no message names its commands or options", () => {
  const commands = [...COMMANDS, ...GROUPS].map(({ name }) => name).join("|");
  const options = [...GLOBAL_OPTIONS, ...COMMANDS.flatMap((command) => command.options)]
    .map(({ name }) => name).join("|");
  const keys = ["sync", "workers", ...DRIVERS.flatMap(({ optionKeys }) => optionKeys)].join("|");
  const spoken = new RegExp(
    `veneer (${commands})\\b|\`(${commands})\`|(^|[\\s"'(\`])--(${options})\\b|-o (${keys})\\b`,
  );
  for (const text of ["see `veneer ls`", "work: `ls`, `rm`", "use --root", "-o overlay2.size=1"]) {
    assert(spoken.test(text), text);
  }
  const found: string[] = [];
  for (const { path, text } of sources("lib", "drivers", "ffi")) {
    if (path.startsWith("lib/cli/")) continue;
    for (const [i, line] of text.split("\n").entries()) {
      // Comments may, and nsenter has options of the same names.
      const code = line.replace(/^\s*(\/?\*|\/\/).*| \/\/ .*$|\bnsenter [^`]*/, "");
      if (spoken.test(code)) found.push(`${path}:${i + 1}: ${code.trim()}`);
    }
  }
  assertEquals(found, []);
});
