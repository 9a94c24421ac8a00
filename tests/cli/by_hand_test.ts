/**
 * The first session of README, typed as it stands there, in a clone; and its backup.
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { dirname, join } from "@std/path";
import { TestStore } from "../support/commands.ts";
import { lacksFileSystem, lacksProgram, must, needs, run } from "../support/cases.ts";

const TOP = dirname(dirname(import.meta.dirname!));
const README = Deno.readTextFileSync(join(TOP, "README.md"));
const lacking = lacksFileSystem("overlay") ?? lacksProgram("make");

/** The lines of README's session, what is typed and what is answered. */
function session(): { typed: string[]; answered: string[] } {
  const [, block] = /^By hand.*?^```console\n(.*?)^```$/ms.exec(README)!;
  const lines = block.trimEnd().split("\n");
  return {
    typed: lines.filter((line) => line.startsWith("# ")).map((line) => line.slice(2)),
    answered: lines.filter((line) => !line.startsWith("# ")),
  };
}

needs(lacking, "readme: the session by hand works as typed in a clone", () => {
  using store = new TestStore();
  const clone = store.path("clone");
  Deno.mkdirSync(clone);
  for (const { name } of Deno.readDirSync(TOP)) {
    if (name !== "base.tar" && name !== "app.tar") {
      Deno.symlinkSync(join(TOP, name), join(clone, name));
    }
  }
  const { typed, answered } = session();
  const { code, stdout, stderr } = run(
    "env",
    // As typed, and not by the make that runs the tests.
    ...["MAKEFLAGS", "MFLAGS", "MAKELEVEL"].flatMap((name) => ["-u", name]),
    `VENEER_ROOT=${store.root}`,
    `DENO=${Deno.execPath()}`,
    "bash",
    "-ec",
    [`cd '${clone}'`, ...typed].join("\n"),
  );
  assertEquals({ code, stderr }, { code: 0, stderr: "" });
  // This machine's shell is in the tar, and the store elsewhere.
  const shown = stdout.replace(/^\d+$/m, answered[0]).replaceAll(store.root, "/var/lib/veneer");
  assertEquals(shown.trimEnd().split("\n"), answered);
  assertStringIncludes(must("tar", "-tf", join(clone, "app.tar")), "etc/.wh.motd");
});

needs(lacking, "readme: a copy of a store is a store, with all that layers delete", () => {
  using store = new TestStore();
  store.must("create", "base");
  store.must("apply", "base", store.tar("base.tar", { "etc/motd": "hello\n", "srv/a/b": "b" }));
  store.must("create", "app", "--parent", "base");
  const root = store.must("mount", "app").trimEnd();
  Deno.removeSync(join(root, "etc/motd"));
  Deno.removeSync(join(root, "srv/a"), { recursive: true });
  Deno.mkdirSync(join(root, "srv/a"));
  store.must("umount", "app");
  store.must("cleanup");
  const page = Deno.readTextFileSync(join(TOP, "docs/installing.md"));
  assert(page.includes("rsync -aHAXS --numeric-ids") && page.includes("# or: cp -a"));
  const copies = [["cp", "-a"], ["rsync", "-aHAXS", "--numeric-ids"]]
    .filter(([program]) => lacksProgram(program) === undefined);
  for (const [program, ...options] of copies) {
    const copy = store.path(program);
    must(program, ...options, `${store.root}/`, copy);
    const changes = store.run("--root", copy, "changes", "app");
    assertEquals(changes.stdout, store.must("changes", "app"), changes.stderr);
    assertEquals(store.run("--root", copy, "cleanup").code, 0);
  }
});
