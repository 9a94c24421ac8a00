/**
 * Programs in layers and snapshots, by `exec` and `shell`.
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { CANNOT_RUN, NOT_FOUND } from "../../lib/mount/inside.ts";
import { PROGRAM, refusal, TestStore } from "../support/commands.ts";
import { lacksFileSystem, lacksProgram, mountPoints, must, needs } from "../support/cases.ts";

const lacking = lacksFileSystem("overlay") ?? lacksProgram("busybox");
const APPLETS = ["sh", "cat", "echo", "id", "env", "pwd", "ls", "kill", "sleep"];

/** A store with a layer `app` and a snapshot `work` that have busybox, and whatever else is put there. */
function sample(put: (root: string) => void = () => {}): TestStore {
  const store = new TestStore("--driver", "overlay2");
  const root = store.path("root-files");
  for (const name of ["bin", "proc", "sys", "dev", "etc", "root"]) {
    Deno.mkdirSync(`${root}/${name}`, { recursive: true });
  }
  Deno.copyFileSync(must("sh", "-c", "command -v busybox").trim(), `${root}/bin/busybox`);
  for (const applet of APPLETS) Deno.symlinkSync("busybox", `${root}/bin/${applet}`);
  put(root);
  must("tar", "-C", root, "-cf", store.path("root.tar"), ".");
  store.must("create", "app");
  store.must("apply", "app", store.path("root.tar"));
  store.must("snapshot", "prepare", "work");
  store.must("snapshot", "apply", "work", store.path("root.tar"));
  return store;
}

/** Runs a shell's words in both; returns what they print, which is the same. */
function both(store: TestStore, options: string[], script: string): string {
  const printed = [["exec", "app"], ["snapshot", "exec", "work"]].map((words) =>
    store.must(...words, ...options, "--", "sh", "-c", script)
  );
  assertEquals(printed[0], printed[1]);
  assertEquals(mountPoints(store.root), []);
  return printed[0];
}

needs(lacking, "exec: a program has the tree as its root, and little else", () => {
  using store = sample();
  assertEquals(both(store, [], "pwd; echo / *"), "/\n/ bin dev etc proc root sys\n");
  const environment = both(store, ["--env", "A=b c", "--env", "PATH=/bin"], "env").trim();
  const names = environment.split("\n").map((line) => line.split("=")[0]).sort();
  const usual = ["A", "HOME", "PATH", "PWD", "SHLVL", "TERM"];
  assertEquals(names.filter((name) => !usual.includes(name)), []);
  assertStringIncludes(environment, "A=b c");
  assertMatch(both(store, ["--user", "1000:1001"], "id"), /^uid=1000 gid=1001/);
  assertEquals(both(store, ["--workdir", "/etc"], "pwd"), "/etc\n");
  // What the program writes stays; /proc is there only if that is asked for.
  both(store, [], "ls /proc; echo written >/etc/file");
  assertEquals(store.must("exec", "app", "--read-only", "--", "cat", "/etc/file"), "written\n");
  assertStringIncludes(both(store, ["--mount-system"], "cat /proc/self/cmdline; ls /dev"), "null");
  assertEquals(store.must("exec", "app", "--", "ls", "/proc"), "");
});

needs(lacking, "exec: the status is the program's, and nothing stays mounted", () => {
  using store = sample((root) => {
    Deno.writeTextFileSync(`${root}/etc/text`, "no program");
    Deno.writeTextFileSync(`${root}/bin/script`, "#!/opt/\x1b[1m\n", { mode: 0o755 });
  });
  const status = (...args: string[]) => store.run(...args).code;
  for (const words of [["exec", "app"], ["snapshot", "exec", "work"]]) {
    assertEquals(status(...words, "--", "sh", "-c", "exit 7"), 7);
    assertEquals(status(...words, "--", "sh", "-c", "kill -9 $$"), 128 + 9);
    // The runtime ignores SIGPIPE, and its programs would go on without a reader.
    const state = store.must(...words, "--mount-system", "--", "cat", "/proc/self/status");
    assertMatch(state, /^SigIgn:\t[0-9a-f]{12}[02468ace][0-9a-f]{3}$/m);
    const missing = store.run(...words, "--", "missing");
    assertEquals(missing.code, NOT_FOUND);
    assertEquals(missing.stderr, 'veneer: program "missing" is not in the tree\n');
    const script = store.run(...words, "--", "script");
    assertEquals(script.code, NOT_FOUND);
    assertEquals(
      script.stderr,
      'veneer: program "script" needs the interpreter "/opt/\\u001b[1m", which is not in the tree\n',
    );
    const text = store.run(...words, "--", "/etc/text");
    assertEquals(text.code, CANNOT_RUN);
    assertMatch(text.stderr, /^veneer: program "\/etc\/text" cannot be run: .*EACCES.*\n$/);
    refusal("failed precondition", store.run(...words, "--workdir", "/none", "--", "ls"));
    refusal("usage", store.run(...words, "--user", "root", "--", "ls"));
    refusal("usage", store.run(...words, "--env", "=x", "--", "ls"));
    // A beginning is not enough for what may be written to.
    for (const name of ["nothing", words.at(-1)!.slice(0, -1)]) {
      refusal("not found", store.run(...words.slice(0, -1), name, "--", "ls"));
    }
  }
  assertEquals(store.must("shell", "app").length, 0, "standard input is at its end");
  assertEquals(mountPoints(store.root), []);
  assertEquals(JSON.parse(store.must("ls", "--json"))[0].references, 0);
});

needs(
  lacking,
  "exec: a signal goes to the program, and the tree is unmounted after it",
  async () => {
    using store = sample();
    for (const words of [["exec", "app"], ["snapshot", "exec", "work"]]) {
      const [program, ...first] = PROGRAM;
      const running = new Deno.Command(program, {
        args: [
          ...first,
          ...store.options,
          ...words,
          "--",
          "sh",
          "-c",
          'trap "echo ended; exit 5" TERM; echo began; while :; do sleep 0.1; done',
        ],
        stdin: "null",
        stdout: "piped",
        stderr: "piped",
      }).spawn();
      const output = running.stdout.getReader();
      const text = new TextDecoder();
      assertEquals(text.decode((await output.read()).value), "began\n");
      running.kill("SIGTERM");
      assertEquals(text.decode((await output.read()).value), "ended\n");
      await output.cancel();
      const said = await new Response(running.stderr).text();
      assertEquals([(await running.status).code, said], [5, ""]);
      assertEquals(mountPoints(store.root), []);
    }
  },
);

needs(lacking, "exec: a tree that leads elsewhere leads nowhere outside", () => {
  using store = sample((root) => {
    for (const name of ["proc", "sys", "dev"]) Deno.removeSync(`${root}/${name}`);
    Deno.symlinkSync("/", `${root}/proc`);
    Deno.symlinkSync("../../../../../../etc", `${root}/work`);
  });
  const before = must("findmnt", "-n", "-o", "TARGET", "/proc");
  const refused = store.run("exec", "app", "--mount-system", "--", "ls");
  assertMatch(refusal("failed precondition", refused), /^\/proc cannot be mounted in the tree: /);
  assertEquals(must("findmnt", "-n", "-o", "TARGET", "/proc"), before);
  // Inside, links are the tree's own.
  const listed = store.must("exec", "app", "--workdir", "/work", "--", "sh", "-c", "pwd -P; ls");
  assertEquals(listed, "/etc\n");
  assert(!Deno.readTextFileSync("/proc/self/mountinfo").includes(join(store.root, "proc")));
});
