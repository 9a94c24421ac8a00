/**
 * What a terminal is shown, and what a reader that goes away leaves behind. The terminal is `script`'s.
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { PROGRAM, shellWords, TestStore } from "../support/commands.ts";
import { lacksFileSystem, lacksProgram, must, needs, run } from "../support/cases.ts";

const lacking = lacksFileSystem("overlay") ?? lacksProgram("script");

/** Runs a command of the program in a terminal; what it showed. */
function inTerminal(
  store: TestStore,
  words: readonly string[],
  env: Readonly<Record<string, string>> = {},
): { code: number; shown: string } {
  const command = shellWords([...PROGRAM, ...store.options, ...words]);
  const settings = Object.entries({ TERM: "xterm", ...env }).map(([name, value]) =>
    `${name}=${value}`
  );
  const { code, stdout } = run(
    "env",
    "--unset=NO_COLOR",
    ...settings,
    "script",
    "--quiet",
    "--return",
    "--command",
    command,
    "/dev/null",
  );
  return { code, shown: stdout.replaceAll("\r\n", "\n") };
}

/** A store with a layer `big` to which a tar of some megabytes is to be applied. */
function sample(): { store: TestStore; tar: string } {
  const store = new TestStore();
  store.must("create", "big");
  const files = Array.from({ length: 8 }, (_, i) => [`f${i}`, String(i).repeat(2 ** 20)]);
  return { store, tar: store.tar("big.tar", Object.fromEntries(files)) };
}

const UP = "\x1b[1A\r\x1b[K";

needs(lacking, "terminal: apply and diff show a bar and take it away", () => {
  const { store, tar } = sample();
  using _store = store;
  const { code, shown } = inTerminal(store, ["apply", "big", tar]);
  assertEquals(code, 0);
  assertStringIncludes(shown, "apply big ");
  assertMatch(shown, /%.* of 8\.\d+ MiB/);
  assert(shown.endsWith(`${UP}8388608\n`), JSON.stringify(shown));

  store.must("create", "packed");
  must("gzip", "-k", tar);
  const packed = inTerminal(store, ["apply", "packed", `${tar}.gz`]);
  assertMatch(packed.shown, /^apply packed [⠋-⠿] /);
  assert(!packed.shown.includes("%"), "how much tar a compressed file holds is not known");

  const diff = inTerminal(store, ["diff", "big", "-o", store.path("out.tar")]);
  assertEquals(diff.code, 0);
  assertMatch(diff.shown, /^diff big [⠋-⠿] /);
  assert(diff.shown.endsWith(UP), JSON.stringify(diff.shown));
});

needs(lacking, "terminal: apply says of a pipe that gives nothing that it is stalled", () => {
  const { store, tar } = sample();
  using _store = store;
  const apply = shellWords([...PROGRAM, ...store.options, "apply", "big"]);
  // The wait begins when the program has read what there is, and ends when it has said so, two minutes later at most.
  const shown = store.path("shown");
  const said =
    `for i in $(seq 1200); do sleep 0.1; ! grep -q 'nothing came for [0-9]' '${shown}' || break; done`;
  const pipe = `(head -c 5000000 '${tar}'; ${said}; tail -c +5000001 '${tar}') | ${apply}`;
  const { stdout } = run("script", "--flush", "-qec", pipe, shown);
  assertMatch(stdout, /apply big . 4\.\d+ MiB {2}nothing came for \d:\d\d/);
  assert(stdout.trimEnd().endsWith("8388608"), JSON.stringify(stdout));
});

needs(lacking, "terminal: NO_COLOR takes the colours away, TERM=dumb the bar", () => {
  const { store, tar } = sample();
  using _store = store;
  const uncoloured = inTerminal(store, ["apply", "big", tar], { NO_COLOR: "1" }).shown;
  assertStringIncludes(uncoloured, "apply big");
  assert(!uncoloured.includes("\x1b[36m"), JSON.stringify(uncoloured));
  assertStringIncludes(inTerminal(store, ["tree"]).shown, "\x1b[1mbig\x1b[22m");
  assertEquals(inTerminal(store, ["tree"], { NO_COLOR: "1" }).shown, "big  8 MiB\n");
  assertEquals(inTerminal(store, ["tree"], { TERM: "dumb" }).shown, "big  8 MiB\n");
  store.must("create", "again");
  assertEquals(inTerminal(store, ["apply", "again", tar], { TERM: "dumb" }).shown, "8388608\n");
});

needs(
  lacking,
  "terminal: ls shortens long ids and fits 80 and 40 columns, unless told not to",
  () => {
    using store = new TestStore();
    const [one, other] = ["a1".repeat(32), "b2".repeat(32)];
    store.must("create", one);
    store.must("create", other, "--parent", one);
    const lines = (columns: number, ...more: string[]) => {
      const words = shellWords([...PROGRAM, ...store.options, "ls", ...more]);
      const { stdout } = run("script", "-qec", `stty cols ${columns}; ${words}`, "/dev/null");
      return stdout.trimEnd().split(/\r?\n/).map((line) =>
        line.replace(/2\d{3}-[-:T\d]+Z/, "TIME")
      );
    };
    assertEquals(lines(80), [
      "ID            PARENT        STATE  USES  CREATED               MOUNTED AT",
      "a1a1a1a1a1a1                ready  0     TIME",
      "b2b2b2b2b2b2  a1a1a1a1a1a1  ready  0     TIME",
    ]);
    assertEquals(lines(40), [
      "ID            PARENT        STATE  USES…",
      "a1a1a1a1a1a1                ready  0   …",
      "b2b2b2b2b2b2  a1a1a1a1a1a1  ready  0   …",
    ]);
    assertStringIncludes(lines(80, "--no-trunc").join("\n"), `\n${other}  ${one}  ready`);
    assertStringIncludes(store.must("ls"), `\n${other}  ${one}  ready`);
  },
);

needs(lacking, "terminal: a tar is neither written to one nor read from one", () => {
  const { store } = sample();
  using _store = store;
  const diff = inTerminal(store, ["diff", "big"]);
  assertEquals(diff, {
    code: 2,
    shown: "veneer: a tar is not for a terminal; write it to a file with -o FILE\n",
  });
  const apply = inTerminal(store, ["apply", "big"]);
  assertEquals(apply, {
    code: 2,
    shown: "veneer: standard input is a terminal; name a tar or use a pipe\n",
  });
});

needs(lacksFileSystem("overlay"), "a reader that goes away ends the program without a word", () => {
  const { store, tar } = sample();
  using _store = store;
  store.must("apply", "big", tar);
  // As with a program that SIGPIPE ends: 128 + 13.
  const diff = store.shell("veneer diff big | head -c 100 | wc -c");
  assertEquals(diff, { success: false, code: 141, stdout: "100\n", stderr: "" });
  // Nobody has the pipe's other end any more when the program starts.
  const gone = `mkfifo '${store.path("gone")}' && exec 3<>'${store.path("gone")}' 4>&3 &&
    exec 5>'${store.path("gone")}' 3>&- 4>&-; veneer ls >&5`;
  assertEquals(store.shell(gone), { success: false, code: 141, stdout: "", stderr: "" });
});

needs(lacking, "terminal: a bar moves within one large file, too", () => {
  using store = new TestStore();
  store.must("create", "large");
  const tree = store.path("tree");
  Deno.mkdirSync(tree);
  // A hole: the tar has zeros. The first frame is drawn at its first part, however fast the disk is.
  must("truncate", "--size", "100M", join(tree, "file"));
  must("tar", "-C", tree, "-cf", store.path("large.tar"), "file");
  const { shown } = inTerminal(store, ["apply", "large", store.path("large.tar")]);
  const parts = [...shown.matchAll(/ (\d+)% /g)].map(([, percent]) => Number(percent));
  assert(parts.some((percent) => 0 < percent && percent < 90), JSON.stringify(parts));
});

needs(lacking, "terminal: doctor and tree fit 60 columns", () => {
  using store = new TestStore();
  const long = "a1".repeat(32);
  store.must("create", long);
  store.must("create", "app", "--parent", long);
  store.must("mount", "app");
  const lines = (...words: string[]) => {
    const command = shellWords([...PROGRAM, ...store.options, ...words]);
    const { stdout } = run("script", "-qec", `stty cols 60; NO_COLOR=1 ${command}`, "/dev/null");
    return stdout.trimEnd().split(/\r?\n/);
  };
  for (const line of lines("doctor")) {
    // The store's path is one word, however long it is here.
    assert(line.replace(store.root, "").length <= 60, line);
  }
  assertEquals(lines("tree"), ["a1a1a1a1a1a1  0 B", "↳ app  0 B  mounted (1 use)"]);
  assertEquals(lines("tree", "--no-trunc")[0], `${long}  0 B`);
  store.must("umount", "app");
});
