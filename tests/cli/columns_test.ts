import { assertEquals } from "@std/assert";
import { formatColumns } from "../../lib/cli/columns.ts";

Deno.test("columns: two spaces apart, none at the ends of lines", async () => {
  assertEquals(await formatColumns([["KEY", "KIND"], ["a-key", ""], ["b", "view"]]), [
    "KEY    KIND",
    "a-key",
    "b      view",
  ]);
});

Deno.test("columns: characters that take two columns or none count so", async () => {
  assertEquals(
    await formatColumns([["日本語", "active"], ["e\u0301te\u0301", "view"], ["👩‍🚀", "x"]]),
    [
      "日本語  active",
      "e\u0301te\u0301     view",
      "👩‍🚀      x",
    ],
  );
});
