import { assertEquals, assertThrows } from "@std/assert";
import { VeneerError } from "../../lib/base/errors.ts";
import { checkKnown, parseBoolean, parseOptions, suggestion } from "../../lib/base/options.ts";

Deno.test("parseOptions: keys in any case, a later one wins, values as they are", () => {
  const options = parseOptions(["Overlay2.Size=10G", "a=b=c", " k = v ", "empty=", "a=2"]);
  assertEquals([...options], [["overlay2.size", "10G"], ["a", "2"], ["k", "v"], ["empty", ""]]);
});

Deno.test("parseOptions refuses what has no key or no value", () => {
  for (const text of ["", "size", "=10G", " =1"]) {
    const error = assertThrows(() => parseOptions([text], "storage option"), VeneerError);
    assertEquals(error.code, "invalid argument");
    assertEquals(error.message, `storage option ${JSON.stringify(text)}: write it as KEY=VALUE`);
  }
});

Deno.test("checkKnown names the nearest option, or all where none is near", () => {
  const known = ["overlay2.size", "overlay2.override_kernel_check"];
  checkKnown(parseOptions(["overlay2.SIZE=1"]), known, "overlay2");
  const refuse = (option: string) =>
    assertThrows(() => checkKnown(parseOptions([`${option}=1`]), known, "overlay2"), VeneerError)
      .message;
  assertEquals(
    refuse("overlay2.sise"),
    "overlay2 has no option overlay2.sise; did you mean overlay2.size?",
  );
  assertEquals(refuse("x"), `overlay2 has no option x; there are ${known.join(", ")}`);
  assertThrows(() => checkKnown(new Map([["a", ""]]), [], "aufs"), VeneerError, "it has none");
});

Deno.test("suggestion: near is a small part of the word", () => {
  const commands = ["create", "rm", "mount", "umount", "ls", "diff", "diffsize"];
  const near: [string, string][] = [["cretae", "create"], ["lst", "ls"], ["mnt", "mount"], [
    "rmm",
    "rm",
  ]];
  near.push(["unmount", "umount"], ["dif", "diff"], ["difsize", "diffsize"]);
  for (const [word, name] of near) {
    assertEquals(suggestion(word, commands), `did you mean ${name}?`);
  }
  for (const word of ["x", "prune", "", "zz"]) {
    assertEquals(suggestion(word, commands), `there are ${commands.join(", ")}`, word);
  }
});

Deno.test("parseBoolean", () => {
  for (const text of ["true", "TRUE", "1", "t"]) assertEquals(parseBoolean(text, "x"), true);
  for (const text of ["false", "False", "0", "f"]) assertEquals(parseBoolean(text, "x"), false);
  for (const text of ["", "yes", "2", "tru"]) {
    assertEquals(assertThrows(() => parseBoolean(text, "x"), VeneerError).code, "invalid argument");
  }
});
