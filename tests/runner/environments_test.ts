import { assertEquals, assertThrows } from "@std/assert";
import { environmentsOf } from "./environments.ts";

Deno.test("environmentsOf: a file without a line runs here on ext4", () => {
  assertEquals(environmentsOf('import "x";\n', "a_test.ts"), [{ kernel: "native", fs: "ext4" }]);
});

Deno.test("environmentsOf: a file names its environments", () => {
  assertEquals(environmentsOf("// @runs on btrfs, guest xfs\n\nimport 1;\n", "a_test.ts"), [
    { kernel: "native", fs: "btrfs" },
    { kernel: "uml", fs: "xfs+pquota" },
  ]);
});

Deno.test("environmentsOf: an unknown environment is an error", () => {
  assertThrows(
    () => environmentsOf("// @runs on ext5\n", "a_test.ts"),
    Error,
    'a_test.ts: "ext5" is not one of',
  );
});
