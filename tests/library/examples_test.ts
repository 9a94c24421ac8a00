/**
 * The examples and the programs of README and docs/library.md, run as a reader would: outside the clone, with one line in a `deno.json` there.
 */
import { assertEquals, assertMatch } from "@std/assert";
import { lacksFileSystem, must, needs, run } from "../support/cases.ts";
import { read } from "../support/files.ts";
import { storeDir } from "../support/store_dir.ts";

const TOP = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");
const lacks = lacksFileSystem("overlay");

/** Writes programs to a directory outside the clone, and checks their types there. */
function putOutside(directory: string, programs: Readonly<Record<string, string>>) {
  Deno.writeTextFileSync(`${directory}/deno.json`, JSON.stringify({ links: [TOP] }));
  for (const [name, text] of Object.entries(programs)) {
    Deno.writeTextFileSync(`${directory}/${name}`, text);
  }
  const files = Object.keys(programs).map((name) => `${directory}/${name}`);
  must(Deno.execPath(), "check", "--quiet", ...files);
}

/** Runs one of them there. */
function runOutside(directory: string, name: string, ...args: string[]) {
  const program = ["bash", "-c", 'cd "$1"; exec "${@:2}"', "bash", directory, Deno.execPath()];
  return run(...program as [string], "run", "--quiet", "--allow-all", name, ...args);
}

/** A page's programs. */
function programsOf(page: string): string[] {
  const blocks = Deno.readTextFileSync(`${TOP}/${page}`).matchAll(/^```ts\n([^]*?)^```$/gm);
  return Array.from(blocks, ([, text]) => text);
}

needs(lacks, "library: layer_cache builds each layer once, inside the clone", () => {
  using dir = storeDir();
  for (const [name, file] of [["base", "kept"], ["app", "added"]]) {
    Deno.mkdirSync(`${dir.path}/${name}/sub`, { recursive: true });
    Deno.writeTextFileSync(`${dir.path}/${name}/sub/${file}`, `${file}\n`);
  }
  const build = () => {
    const { path } = dir;
    const options = ["run", "--quiet", "--allow-all", "--no-check", "--frozen"];
    const program = [Deno.execPath(), ...options, `${TOP}/examples/layer_cache.ts`] as const;
    return must(...program, `${path}/root`, `${path}/app.tar`, `${path}/base`, `${path}/app`);
  };
  const lines = (how: string) => [
    new RegExp(`^[0-9a-f]{12} ${how} .*/base$`),
    /^ {2}A \/sub$/,
    /^ {2}A \/sub\/kept$/,
    new RegExp(`^[0-9a-f]{12} ${how} .*/app$`),
    /^ {2}C \/sub$/,
    /^ {2}A \/sub\/added$/,
  ];
  for (const how of ["built", "cached"]) {
    const printed = build().trimEnd().split("\n");
    assertEquals(printed.length, 6, printed.join("\n"));
    for (const [i, line] of lines(how).entries()) assertMatch(printed[i], line);
  }
  assertEquals(must("tar", "-tf", `${dir.path}/app.tar`), "sub/\nsub/added\n");
  Deno.writeTextFileSync(`${dir.path}/app/sub/added`, "changed\n");
  assertMatch(build(), / cached .*\/base\n[^]* built .*\/app\n/);
});

needs(lacks, "library: fresh_copies gives each run its own tree, outside the clone", () => {
  using dir = storeDir();
  Deno.mkdirSync(`${dir.path}/tree`);
  Deno.writeTextFileSync(`${dir.path}/tree/data`, "1\n");
  const name = "fresh_copies.ts", text = Deno.readTextFileSync(`${TOP}/examples/${name}`);
  putOutside(dir.path, { [name]: text });
  const fresh = (...command: string[]) =>
    runOutside(dir.path, name, `${dir.path}/root`, `${dir.path}/tree`, "2", ...command);
  const { code, stdout, stderr } = fresh("sh", "-c", "cat data; echo 2 >data; echo 3 >new");
  assertEquals([code, stderr], [0, ""]);
  assertMatch(stdout, /^1\ntree-1: status 0; wrote 2 files, \d+ bytes\n1\ntree-2: status 0; .*\n$/);
  assertEquals(fresh("sh", "-c", "exit 3").code, 3);
  assertEquals(read(`${dir.path}/tree/data`), "1\n");
});

needs(
  lacks,
  "library: the programs of README and its page do what they say, outside the clone",
  () => {
    using dir = storeDir();
    Deno.mkdirSync(`${dir.path}/base`);
    // So much that Workers are worth their start, which are found outside the clone too.
    Deno.writeFileSync(`${dir.path}/base/file`, new Uint8Array(20 << 20));
    must("tar", "-C", `${dir.path}/base`, "-czf", `${dir.path}/base.tar.gz`, ".");
    // With a store of the case's own.
    const programs = programsOf("docs/library.md")
      .map((text) => text.replaceAll("/srv/layers", `${dir.path}/root`));
    assertEquals(programsOf("README.md"), programsOf("docs/library.md").slice(0, 1));
    const files = programs.map((_, i) => `readme${i}.ts`);
    putOutside(dir.path, Object.fromEntries(files.map((file, i) => [file, programs[i]])));
    const ran = files.map((file) => runOutside(dir.path, file));
    assertEquals(ran.map(({ code, stderr }) => [code, stderr]), programs.map(() => [0, ""]));
    assertEquals(ran[0].stdout, "A /hello\n");
    assertMatch(ran[1].stdout, /type: "overlay"|type: "bind"/);
    assertEquals(must("tar", "-tf", `${dir.path}/app.tar`), "hello\n");
  },
);
