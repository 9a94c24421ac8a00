/** The workflows of docs/workflows.md, run as they stand there. */
import { assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path";
import { lacksFileSystem, lacksProgram, mountPoints, must, needs, run } from "../support/cases.ts";
import { storeDir } from "../support/store_dir.ts";
import { PROGRAM } from "../support/commands.ts";

const TOP = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");
const PAGE = Deno.readTextFileSync(join(TOP, "docs/workflows.md"));
const lacking = lacksFileSystem("overlay") ?? lacksProgram("mkfs.ext4");

/** The code of a language below a title. */
function blocks(title: string, language: string): string[] {
  const section = PAGE.split(/^## /m).find((text) => text.startsWith(title))!;
  const code = section.matchAll(new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\`$`, "gm"));
  return Array.from(code, ([, text]) => text);
}

/** Puts a command of a name before all others, for a script. */
function putCommand(directory: string, name: string, words: readonly string[]): string {
  const bin = join(directory, "bin");
  Deno.mkdirSync(bin, { recursive: true });
  const script = `#!/bin/sh\nexec ${words.map((word) => `'${word}'`).join(" ")} "$@"\n`;
  Deno.writeTextFileSync(join(bin, name), script, { mode: 0o755 });
  return `${bin}:${Deno.env.get("PATH")}`;
}

/** Runs a script in a directory, which must succeed without a word of trouble. */
function play(directory: string, path: string, script: string): string {
  const { code, stdout, stderr } = run(
    "env",
    "-C",
    directory,
    `PATH=${path}`,
    "NO_COLOR=1",
    "bash",
    "-ec",
    script,
  );
  assertEquals({ code, stderr }, { code: 0, stderr: "" }, stdout);
  return stdout;
}

needs(lacking, "docs: the workflow by deno task builds each layer once", () => {
  using dir = storeDir();
  const [config] = blocks("Layers as a cache", "json");
  const [commands] = blocks("Layers as a cache", "sh");
  Deno.writeTextFileSync(join(dir.path, "deno.json"), config.replaceAll("/opt/veneer", TOP));
  for (const name of ["base", "app"]) {
    Deno.mkdirSync(join(dir.path, name));
    Deno.writeTextFileSync(join(dir.path, name, name), name);
  }
  const path = putCommand(dir.path, "deno", [Deno.execPath()]);
  const said = play(dir.path, path, commands.replaceAll("deno task", "deno task --quiet"));
  const steps = said.split("\n").filter((line) => /^[0-9a-f]{12} /.test(line))
    .map((line) => line.slice(13));
  assertEquals(steps, ["built base", "built app", "cached base", "cached app"]);
  assertEquals(must("tar", "-tf", join(dir.path, "app.tar")), "app\n");
});

needs(
  lacking ?? lacksProgram("busybox"),
  "docs: the workflow of a CI job runs as it stands, and leaves nothing",
  () => {
    using dir = storeDir();
    const tree = join(dir.path, "tree");
    for (const name of ["bin", "etc"]) Deno.mkdirSync(join(tree, name), { recursive: true });
    must("cp", "/bin/busybox", join(tree, "bin/sh"));
    must("tar", "-C", tree, "-cf", join(dir.path, "base.tar"), ".");
    const path = putCommand(dir.path, "veneer", PROGRAM);
    const [script] = blocks("Layers and images", "sh");
    const lines = play(dir.path, path, script).trimEnd().split("\n");
    assertEquals(lines.slice(1, 3), ["C /etc", "A /etc/version"], lines.join("\n"));
    const id = (name: string) =>
      lines.filter((line) => line.startsWith(name)).at(-1)!.match(/[0-9a-f]{12}/)![0];
    assertEquals(id("copy:2"), id("app:2"));
    assertMatch(must("tar", "-tf", join(dir.path, "app.tar")), /^index\.json$/m);
    assertEquals(mountPoints(dir.path), []);
    assertEquals(run("test", "-e", join(dir.path, "store.img")).success, false);
  },
);
