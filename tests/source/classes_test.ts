import { assertEquals } from "@std/assert";
import { type Source, sources } from "./sources.ts";

/** Classes of which each driver has one of its own. */
const OF_DRIVERS = ["Layout"];

/** Classes that stand in several files, each as `NAME: FILE, FILE`. */
function twins(files: readonly Source[]): string[] {
  const places = new Map<string, string[]>();
  for (const { path, text } of files) {
    for (const [, name] of text.matchAll(/^(?:export )?(?:abstract )?class (\w+)/gm)) {
      places.set(name, [...places.get(name) ?? [], path]);
    }
  }
  return [...places].filter(([, paths]) => paths.length > 1)
    .map(([name, paths]) => `${name}: ${paths.join(", ")}`);
}

Deno.test("classes: each name stands once", () => {
  const isOfDrivers = (twin: string) => OF_DRIVERS.includes(twin.split(":")[0]);
  assertEquals(twins(sources("ffi", "lib", "drivers")).filter((twin) => !isOfDrivers(twin)), []);
});

Deno.test("classes: twins are found", () => {
  const file = (path: string) => ({ path, text: "/** One. */\nexport abstract class A {}\n" });
  assertEquals(twins([file("lib/a.ts"), file("lib/b.ts")]), ["A: lib/a.ts, lib/b.ts"]);
});
