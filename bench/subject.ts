/**
 * What every bench is told by `main.ts`: where to work, and which program is measured.
 *
 * @module
 */

/** A directory on the file system to measure on. */
export const DIRECTORY: string = (() => {
  const directory = Deno.env.get("VENEER_TEST_DIR");
  if (directory === undefined) throw new Error("set VENEER_TEST_DIR; `make bench` does it all");
  return directory;
})();

/** The program under test and its first arguments: the compiled one where `VENEER` names it. */
export const VENEER: readonly string[] = Deno.env.get("VENEER")?.split(" ") ?? [
  Deno.execPath(),
  "run",
  "--allow-all",
  "--quiet",
  new URL("../main.ts", import.meta.url).pathname,
];

/** Whether fewer turns and smaller trees will do. */
export const QUICK: boolean = Deno.env.has("VENEER_BENCH_QUICK");
