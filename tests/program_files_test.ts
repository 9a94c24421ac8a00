/**
 * The files that the program touches, by a trace of every command: none lies below a directory that everybody
 * can write to, where a local user could have put something under the name.
 */
import { assert, assertEquals } from "@std/assert";
import { dirname, join, resolve } from "@std/path";
import { COMMANDS } from "../lib/cli/table.ts";
import { PROGRAM, TestStore } from "./cli_support.ts";
import { lacksFileSystem, needs, run } from "./support.ts";

const lacking = Deno.uid() !== 0 ? "it needs root" : lacksFileSystem("overlay");

/** The calls that take a path; `%file` has them all. */
const PATH = /^\d+ +\w+\((?:(?:AT_FDCWD|\d+)<([^>]*)>, |AT_FDCWD, )?"((?:[^"\\]|\\.)*)"/;

/** Directories that everybody can write to, with what lies in them. */
const SHARED = ["/tmp", "/var/tmp", "/dev/shm", "/run/lock"];

/** A directory of another case, whose store is noted in /run: nobody could guess its name. */
const RANDOM = /-[0-9a-f]{12,16}\//;

/** Every path below a shared directory that a trace names, but those below `own` and with random names. */
function sharedPaths(trace: string, own: string): string[] {
  const found = new Set<string>();
  for (const line of trace.split("\n")) {
    const match = PATH.exec(line);
    if (match === null) continue;
    const path = resolve(match[1] ?? "/", match[2]);
    const isShared = SHARED.some((directory) => path.startsWith(`${directory}/`));
    const isOwn = `${path}/`.startsWith(`${own}/`) || own.startsWith(`${path}/`);
    if (isShared && !isOwn && !RANDOM.test(path)) found.add(path);
  }
  return [...found];
}

/** What is run, in this order, on one store. `FILE` stands for files of the case. */
function commandLines(file: (name: string) => string): string[][] {
  return [
    ["create", "base"],
    ["apply", "base", file("base.tar.gz")],
    ["create", "app", "--parent", "base"],
    ["mount", "app"],
    ["umount", "app"],
    ["exists", "app"],
    ["ls"],
    ["tree"],
    ["inspect", "app"],
    ["changes", "app"],
    ["diff", "app", "--parent", "", "-o", file("app.tar")],
    ["diffsize", "app"],
    ["status"],
    ["doctor"],
    ["version"],
    ["completions", "bash"],
    ["help", "create"],
    ["snapshot", "prepare", "work"],
    ["snapshot", "mounts", "work"],
    ["snapshot", "mount", "work"],
    ["snapshot", "umount", "work"],
    ["snapshot", "commit", "one", "work"],
    ["snapshot", "view", "look", "--parent", "one"],
    ["snapshot", "stat", "look"],
    ["snapshot", "label", "look", "a=b"],
    ["snapshot", "ls", "kind==view"],
    ["snapshot", "tree"],
    ["snapshot", "usage"],
    ["snapshot", "rm", "look", "one"],
    ["snapshot", "cleanup"],
    ["rm", "app", "base"],
    ["cleanup"],
  ];
}

needs(lacking, "program: no command touches a predictable name where everybody can write", () => {
  using store = new TestStore("--driver", "overlay2");
  const own = dirname(store.root);
  store.tar("base.tar", { "a/file": "x".repeat(200_000), "b": "y" });
  run("gzip", "-f", store.path("base.tar"));
  const lines = commandLines((name) => store.path(name));
  const words = lines.map((line) => line.slice(0, 2).join(" "));
  for (const { name } of COMMANDS) {
    assert(
      words.some((line) => line === name || line.startsWith(`${name} `)),
      `${name} is not run`,
    );
  }
  for (const line of lines) {
    const trace = join(own, "trace");
    const traced = ["--follow-forks", "--decode-fds=path", "--trace=%file", "--string-limit=4096"];
    const { code, stderr } = run(
      "strace",
      ...traced,
      "--output",
      trace,
      ...PROGRAM,
      ...store.options,
      ...line,
    );
    assertEquals(code, 0, `veneer ${line.join(" ")}: ${stderr}`);
    const text = Deno.readTextFileSync(trace);
    assert(
      text.includes(line[0] === "version" ? "execve" : "openat"),
      "a trace that shows nothing",
    );
    assertEquals(sharedPaths(text, own), [], `veneer ${line.join(" ")}`);
  }
});

Deno.test("program: a path in a shared directory would be seen in a trace", () => {
  const lines = [
    '12 openat(AT_FDCWD</>, "/tmp/deno-compile-veneer.cache", O_RDONLY) = -1 ENOENT',
    '12 openat(7</dev/shm>, "aufs-x.xino", O_RDWR) = 3',
    '12 stat("/var/tmp/x", 0x7ffd) = 0',
    '12 openat(AT_FDCWD</>, "/tmp/own/store/x", O_RDONLY) = 3',
    '12 openat(AT_FDCWD</root>, "file", O_RDONLY) = 3',
  ];
  assertEquals(sharedPaths(lines.join("\n"), "/tmp/own"), [
    "/tmp/deno-compile-veneer.cache",
    "/dev/shm/aufs-x.xino",
    "/var/tmp/x",
  ]);
});
