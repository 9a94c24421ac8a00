/** The interpreter that a program names. */
import { assert, assertEquals } from "@std/assert";
import { interpreterOf, namedIn } from "../../lib/mount/interpreter.ts";
import { randomOf } from "../support/random.ts";

const named = (text: string) => namedIn(new TextEncoder().encode(text));

Deno.test("interpreter: of scripts", () => {
  assertEquals(named("#!/bin/sh\necho"), "/bin/sh");
  assertEquals(named("#! \t/usr/bin/env  -S a b\n"), "/usr/bin/env");
  assertEquals(named("#!/bin/sh"), "/bin/sh");
  for (const text of ["", "#", "#!", "#! \n/bin/sh", "echo", "\x7fELF", "\x7fELF\x02\x01"]) {
    assertEquals(named(text), undefined, text);
  }
});

Deno.test("interpreter: of ELF programs, whatever their headers say", () => {
  const program = Deno.realPathSync("/bin/ls");
  const loader = interpreterOf(program);
  assert(loader !== undefined && Deno.statSync(loader).isFile, loader);
  const bytes = Deno.readFileSync(program).slice(0, 4096);
  const random = randomOf(1);
  for (let turn = 0; turn < 2000; turn++) {
    const mutant = bytes.slice(0, turn % 7 === 0 ? random(bytes.length) : bytes.length);
    for (let i = 0; i < 4 && mutant.length > 0; i++) {
      mutant[random(Math.min(mutant.length, 512))] = random(256);
    }
    const found = namedIn(mutant);
    assert(found === undefined || found.length <= 4096);
  }
  assertEquals(interpreterOf("/nonexistent"), undefined);
  assertEquals(interpreterOf("/"), undefined);
});
