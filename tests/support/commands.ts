/** Runs the program as a user does, on a store of one case. */
import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import type { ErrorCode } from "../../lib/base/errors.ts";
import { EXIT_STATUS } from "../../lib/cli/exit_status.ts";
import { must, type Ran, run, type TempDir, tempDir, TEST_FS } from "./cases.ts";
import { runInServer } from "./program_client.ts";

/**
 * The V8 flags of `tools/veneer` and of the compiled program, which limit the memory of services.
 */
export const V8_FLAGS = "--v8-flags=--max-semi-space-size=2";

/**
 * The words that start the program: those in `VENEER`, which name a compiled program; or those of
 * the runner, which has bundled it, so that it starts in half the time; or else the source.
 */
const words = Deno.env.get("VENEER") ?? Deno.env.get("VENEER_TEST_PROGRAM");
export const PROGRAM: readonly string[] = words?.split(" ") ?? [
  Deno.execPath(),
  "run",
  "--allow-all",
  V8_FLAGS,
  new URL("../../main.ts", import.meta.url).pathname,
];

/** The words that start a server which runs commands, if the runner has bundled it. */
const SERVER = Deno.env.get("VENEER") ? undefined : Deno.env.get("VENEER_TEST_SERVER")?.split(" ");

/**
 * Words of commands that need a process of their own: they run programs and get signals, trace all
 * further calls of the process, or are answered before a command is looked for.
 */
const WITH_PROCESS = ["exec", "shell", "serve", "debug", "--version"];

/**
 * Runs the program without a store: in a server, if there is one and the command needs no process
 * of its own.
 */
export function veneer(...args: string[]): Ran {
  const needsProcess = args.some((word) => WITH_PROCESS.includes(word));
  if (SERVER !== undefined && !needsProcess) return runInServer(SERVER, args);
  const [program, ...first] = PROGRAM;
  return run(program, ...first, ...args);
}

/** Quotes words for a POSIX shell. */
export function shellWords(words: readonly string[]): string {
  return words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ");
}

/** Runs the program on a store. */
export abstract class StoreCommands {
  /** The options before every command. */
  abstract readonly options: readonly string[];

  /** A command as hints show it: with the options that select the store. */
  hint(...words: string[]): string {
    const flags = this.options.flatMap((word, i, all) =>
      word === "--root" || word === "--driver" ? [word, all[i + 1]] : []
    );
    return `\`veneer ${[...flags, ...words].join(" ")}\``;
  }

  /** Runs a command on the store. */
  run(...args: string[]): Ran {
    return veneer(...this.options, ...args);
  }

  /** Runs a command that must succeed and write nothing to standard error; returns its output. */
  must(...args: string[]): string {
    const { code, stdout, stderr } = this.run(...args);
    assertEquals({ code, stderr }, { code: 0, stderr: "" }, `veneer ${args.join(" ")}`);
    return stdout;
  }

  /** The JSON that a command prints. */
  json<T>(...args: string[]): T {
    return JSON.parse(this.must("--json", ...args));
  }
}

/** A store in its own directory. */
export class TestStore extends StoreCommands implements Disposable {
  readonly #directory: TempDir = tempDir("cli-");
  /** The value of `--root`. */
  readonly root = join(this.#directory.path, "store");
  readonly options: readonly string[];

  constructor(...options: string[]) {
    super();
    const backing = TEST_FS.startsWith("btrfs") ? ["-o", "overlay2.allow_btrfs=true"] : [];
    this.options = ["--root", this.root, ...backing, ...options];
  }

  /** Runs shell text in which `veneer` is the program with the store's options. */
  shell(script: string, env: Readonly<Record<string, string>> = {}): Ran {
    const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
    const define = `veneer() { ${shellWords([...PROGRAM, ...this.options])} "$@"; }`;
    return run("env", ...variables, "bash", "-c", `set -o pipefail\n${define}\n${script}`);
  }

  /** A path beside the store, for tars and other files of the case. */
  path(name: string): string {
    return join(this.#directory.path, name);
  }

  /** Makes a tar of files given by name and content. */
  tar(name: string, files: Readonly<Record<string, string>>): string {
    const tree = this.path(`${name}.tree`);
    for (const [path, content] of Object.entries(files)) {
      Deno.mkdirSync(join(tree, path, ".."), { recursive: true });
      Deno.writeTextFileSync(join(tree, path), content);
    }
    const tar = this.path(name);
    must("tar", "-C", tree, "-cf", tar, ".");
    return tar;
  }

  /**
   * Every file of the store with its type, mode, owner, size, target and the sum of its content;
   * without a sum for the space reserved for a log, which has no content, and without the index of
   * children, which any command makes anew whose records are old enough.
   */
  snapshot(): string {
    const files = "find . ! -path '*/.veneer/children'";
    const find = `${files} -printf '%P %y %m %U:%G %l\\n' | LC_ALL=C sort`;
    const sums = `${files} -type f ! -name metadata.db-reserve -exec md5sum {} + | LC_ALL=C sort`;
    return must("sh", "-c", `cd "$0" && ${find} && ${sums}`, this.root);
  }

  /**
   * Runs a command that must be refused: with one line on standard error, nothing on standard
   * output, the exit status of its code, and no change of the store. Returns the line without the
   * program's name.
   */
  refused(code: ErrorCode, ...args: string[]): string {
    const before = this.snapshot();
    const message = refusal(code, this.run(...args));
    assertEquals(this.snapshot(), before, `veneer ${args.join(" ")} changed the store`);
    return message;
  }

  [Symbol.dispose](): void {
    this.run("cleanup");
    this.#directory[Symbol.dispose]();
  }
}

/**
 * Checks the output and status of a refused command; returns the line without the program's name.
 */
export function refusal(code: ErrorCode, { code: exit, stdout, stderr }: Ran): string {
  assertEquals({ stdout, exit }, { stdout: "", exit: EXIT_STATUS[code] }, stderr);
  const lines = stderr.split("\n");
  assertEquals(lines.length, 2, `one line, not: ${stderr}`);
  assert(lines[0].startsWith("veneer: ") && lines[1] === "", stderr);
  assert(!/\bat .*:\d+:\d+/.test(stderr), `no stack: ${stderr}`);
  return lines[0].slice("veneer: ".length);
}
