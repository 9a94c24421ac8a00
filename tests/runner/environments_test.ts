import { assertEquals, assertThrows } from "@std/assert";
import { type Environment, environmentsOf } from "./environments.ts";

Deno.test("environmentsOf: a file without a line runs here on ext4", () => {
  const here: Environment[] = [{ kernel: "native", fs: "ext4" }];
  assertEquals(environmentsOf('import "x";\n', "a_test.ts", false), here);
});

Deno.test("environmentsOf: a file names its environments, and those of the long run", () => {
  const text = "// @runs on btrfs, guest xfs\n// @runs long on xfs\n\nimport 1;\n";
  const usual: Environment[] = [
    { kernel: "native", fs: "btrfs" },
    { kernel: "uml", fs: "xfs+pquota" },
  ];
  assertEquals(environmentsOf(text, "a_test.ts", false), usual);
  assertEquals(environmentsOf(text, "a_test.ts", true), [...usual, {
    kernel: "native",
    fs: "xfs",
  }]);
});

Deno.test("environmentsOf: an unknown environment is an error", () => {
  for (const words of ["on", "long on"]) {
    assertThrows(
      () => environmentsOf(`// @runs ${words} ext5\n`, "a_test.ts", false),
      Error,
      'a_test.ts: "ext5" is not one of',
    );
  }
});
