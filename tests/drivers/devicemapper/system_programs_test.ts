/** Programs of the system: never one that lies in the working directory. */
import { assertEquals } from "@std/assert";
import { findProgram } from "../../../drivers/devicemapper/system_programs.ts";
import { tempDir } from "../../support/cases.ts";

Deno.test("programs are looked for in absolute directories alone", () => {
  using dir = tempDir();
  const planted = `${dir.path}/planted-program`;
  Deno.writeTextFileSync(planted, "#!/bin/sh\n", { mode: 0o755 });
  const before = Deno.cwd();
  Deno.chdir(dir.path);
  try {
    for (const path of ["", ".", ":", "./", ".:/usr/bin", "/usr/bin:"]) {
      assertEquals(findProgram("planted-program", path), undefined, path);
    }
    assertEquals(findProgram("planted-program", `.:${dir.path}`), planted);
  } finally {
    Deno.chdir(before);
  }
  assertEquals(findProgram("sh", "/nowhere:/bin"), "/bin/sh");
});
