/**
 * The files that the program touches, by a trace of every command: none lies below a directory that everybody
 * can write to, where a local user could have put something under the name.
 */
import { assert, assertEquals } from "@std/assert";
import { dirname, join, resolve } from "@std/path";
import { S_IWOTH } from "../../ffi/names.ts";
import { tryLstat } from "../../ffi/stat.ts";
import { COMMANDS } from "../../lib/cli/table.ts";
import { NOT_FOUND } from "../../lib/mount/inside.ts";
import { WORTH_A_WORKER } from "../../lib/tar/apply/worker_jobs.ts";
import { WORTH_A_WORKER as MANY } from "../../lib/tar/export/worker_runs.ts";
import { PROGRAM, TestStore } from "../support/commands.ts";
import { image as builtImage, layer, oneImage, tarOf } from "../images/builder.ts";
import { writeDockerStore } from "../images/literal_docker_store.ts";
import { file as tarFile } from "../tar/support/tar_builder.ts";
import { lacksFileSystem, needs, type Ran, run, TEST_FS } from "../support/cases.ts";

const lacking = Deno.uid() !== 0 ? "it needs root" : lacksFileSystem("overlay");

/** A string that a call is given, and the directory that it counts from if it is a path and relative. */
const STRING = /(?:(?:AT_FDCWD|\d+)<([^>]*)>, )?"((?:[^"\\]|\\.)*)"/g;

/** A directory of another case, whose store is noted in /run: nobody could guess its name. */
const RANDOM = /-[0-9a-f]{12,16}\//;

/** So many files that a Worker helps to read them, and so large that one helps to write them. */
const MANY_FILES = MANY + 100;

/** Whether everybody can write to a directory or one above it, and so put something there or take it away. */
function isShared(directory: string, known: Map<string, boolean>): boolean {
  const before = known.get(directory);
  if (before !== undefined) return before;
  const stat = tryLstat(directory);
  const shared = stat?.isDirectory === true && (stat.mode & S_IWOTH) !== 0 ||
    directory !== "/" && isShared(dirname(directory), known);
  known.set(directory, shared);
  return shared;
}

/** Every path in shared directories that a trace names, but those below `own` and with random names. */
function sharedPaths(trace: string, own: string): string[] {
  const found = new Set<string>(), known = new Map<string, boolean>();
  for (const line of trace.split("\n")) {
    for (const [, base = "/", text] of line.matchAll(STRING)) {
      const path = resolve(base, text);
      const isOwn = `${path}/`.startsWith(`${own}/`) || own.startsWith(`${path}/`);
      if (!isOwn && !RANDOM.test(path) && isShared(dirname(path), known)) found.add(path);
    }
  }
  return [...found];
}

/** What is run, in this order, on one store. `FILE` stands for files of the case. */
function commandLines(file: (name: string) => string): string[][] {
  return [
    ["create", "base"],
    ["apply", "base", file("base.tar.gz")],
    ["create", "large"],
    ["apply", "large", file("large.tar")],
    ["diff", "large", "-o", file("copy.tar")],
    ["diff", "large", "--compress", "gzip", "-o", file("copy.tar.gz")],
    ["rm", "large"],
    ["create", "app", "--parent", "base"],
    ["mount", "app"],
    ["umount", "app"],
    ["mount", "--idmap", "0:100000:65536", "app"],
    ["umount", "app"],
    ["exec", "app", "--", "missing"],
    ["shell", "app", "--read-only"],
    ["exists", "app"],
    ["ls"],
    ["tree"],
    ["df"],
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
    ["snapshot", "apply", "work", file("base.tar.gz")],
    ["snapshot", "diff", "work", "-o", file("work.tar")],
    ["snapshot", "changes", "work"],
    ["snapshot", "exec", "work", "--", "missing"],
    ["snapshot", "shell", "work"],
    ["snapshot", "commit", "one", "work"],
    ["snapshot", "view", "look", "--parent", "one"],
    ["snapshot", "stat", "look"],
    ["snapshot", "label", "look", "a=b"],
    ["snapshot", "ls", "kind==view"],
    ["snapshot", "tree"],
    ["snapshot", "df"],
    ["snapshot", "usage"],
    ["snapshot", "rm", "look", "one"],
    ["snapshot", "cleanup"],
    ["image", "import", file("image.tar.gz")],
    ["image", "ls"],
    ["image", "inspect", "app"],
    ["image", "history", "app"],
    ["image", "tree"],
    ["image", "export", "app", "-o", file("exported.tar")],
    ["image", "mount", "app"],
    ["image", "umount", "app"],
    ["image", "exec", "app", "--", "missing"],
    ["image", "shell", "app"],
    ["image", "commit", "app:latest", "--name", "made"],
    ["image", "rm", "made"],
    ["image", "tag", "app", "other"],
    ["image", "rm", "app", "other"],
    ["image", "ls", "--docker", file("docker")],
    ["image", "inspect", "app", "--docker", file("docker")],
    ["image", "import", "app", "--docker", file("docker")],
    ["image", "export", "app", "--docker", file("docker"), "-o", file("exported.tar")],
    ["container", "ls", "--docker", file("docker"), "--size"],
    ["container", "diff", "box", "--docker", file("docker")],
    ["container", "commit", "box", "--docker", file("docker"), "--name", "boxed"],
    ["image", "rm", "boxed"],
    ["container", "export", "box", "--docker", file("docker"), "-o", file("box.tar")],
    ["image", "rm", "app"],
    ["migrate", "--to", "overlay2", "--to-root", file("migrated"), "--verify"],
    ["migrate", "--docker", file("docker"), "--to", "veneer"],
    ["check"],
    ["repair"],
    ["gc", "--delete"],
    ["rm", "app", "base"],
    ["cleanup"],
    ["config", "show"],
    ["config", "containerd", "--for", "2.x"],
    ["config", "docker"],
    ["config", "buildkit"],
    ["config", "systemd"],
    ["serve", "containerd", "--address", file("service.sock")],
    ["serve", "docker", "--address", file("plugin.sock")],
  ];
}

/** The program in an empty environment if it is compiled; from source, it has its modules below HOME. */
const PROGRAM_ALONE = Deno.env.has("VENEER")
  ? ["env", "-i", `PATH=${Deno.env.get("PATH")}`, ...PROGRAM]
  : PROGRAM;

/** Runs a command in a trace; a service until its socket is there. */
async function traced(trace: string, words: readonly string[]): Promise<Ran> {
  const [program, ...args] = ["strace", "--follow-forks", "--decode-fds=path"].concat(
    ["--trace=%file,%network", "--string-limit=4096", "--output", trace],
    words,
  );
  const socket = words.at(-1)!;
  if (!socket.endsWith(".sock")) return run(program, ...args);
  const child = new Deno.Command(program, { args, stdin: "null", stdout: "piped", stderr: "piped" })
    .spawn();
  const ended = child.output();
  const isOver = ended.then(() => true);
  while (tryLstat(socket) === undefined && !await Promise.race([isOver, delay(50)]));
  // The first process of the trace is the program.
  const [pid] = Deno.readTextFileSync(trace).split(" ");
  if (tryLstat(socket) !== undefined) Deno.kill(Number(pid), "SIGTERM");
  const { success, code, stdout, stderr } = await ended;
  const text = new TextDecoder();
  return { success, code, stdout: text.decode(stdout), stderr: text.decode(stderr) };
}

const delay = (milliseconds: number) =>
  new Promise<false>((resolve) => setTimeout(() => resolve(false), milliseconds));

/** Runs every command on a store and traces it. */
async function checkCommands(driver: string): Promise<void> {
  using store = new TestStore("--driver", driver);
  const options = driver === "btrfs" ? ["--root", store.root, "--driver", driver] : store.options;
  const own = dirname(store.root);
  store.tar("base.tar", { "a/file": "x".repeat(200_000), "b": "y" });
  run("gzip", "-f", store.path("base.tar"));
  const image = tarOf(oneImage(builtImage([layer([tarFile("a", "b")])])));
  Deno.writeFileSync(store.path("image.tar"), image);
  run("gzip", "-f", store.path("image.tar"));
  writeDockerStore(store.path("docker"), driver === "btrfs" ? "btrfs" : "overlay2");
  // So large that Workers help.
  const content = "z".repeat(Math.ceil(WORTH_A_WORKER / MANY_FILES));
  const large = Array.from({ length: MANY_FILES }, (_, i) => [`${i % 10}/${i}`, content]);
  store.tar("large.tar", Object.fromEntries(large));
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
    if (line[0] === "repair" && driver === "overlay2") {
      Deno.symlinkSync("../gone/diff", join(store.root, driver, "l/NOBODYS"));
    }
    // The root of Docker's plugin is what dockerd says.
    const given = line[1] === "docker" && line[0] === "serve" ? ["--driver", driver] : options;
    const { code, stderr } = await traced(trace, [...PROGRAM_ALONE, ...given, ...line]);
    const isInside = line.some((word) => word === "exec" || word === "shell");
    assertEquals(code, isInside ? NOT_FOUND : 0, `veneer ${line.join(" ")}: ${stderr}`);
    const text = Deno.readTextFileSync(trace);
    assert(text.includes("openat("), "a trace that shows nothing");
    assertEquals(sharedPaths(text, own), [], `veneer ${line.join(" ")}`);
  }
}

for (const driver of TEST_FS.startsWith("btrfs") ? ["overlay2", "btrfs"] : ["overlay2"]) {
  needs(
    lacking,
    `program: no command touches a name that everybody can write to (${driver})`,
    () => checkCommands(driver),
  );
}

Deno.test("program: a path in a shared directory would be seen in a trace", () => {
  const lines = [
    '12 openat(AT_FDCWD</>, "/tmp/deno-compile-veneer.cache", O_RDONLY) = -1 ENOENT',
    '12 openat(7</dev/shm>, "aufs-x.xino", O_RDWR) = 3',
    '12 stat("/var/tmp/x", 0x7ffd) = 0',
    '12 openat(AT_FDCWD</>, "/tmp/own/store/x", O_RDONLY) = 3',
    '12 openat(AT_FDCWD</root>, "file", O_RDONLY) = 3',
    '12 renameat2(7</root>, "a", 8</var/tmp>, "b", 0) = 0',
    '12 connect(3<socket:[1]>, {sa_family=AF_UNIX, sun_path="/tmp/socket"}, 13) = 0',
  ];
  assertEquals(sharedPaths(lines.join("\n"), "/tmp/own"), [
    "/tmp/deno-compile-veneer.cache",
    "/dev/shm/aufs-x.xino",
    "/var/tmp/x",
    "/var/tmp/b",
    "/tmp/socket",
  ]);
});
