/**
 * Runs a program inside a mounted layer or snapshot, and waits for its end.
 *
 * @module
 */
import { VeneerError } from "../base/errors.ts";
import { DEFAULT_PATH, type InsideProgram, type User } from "../mount/inside.ts";
import { INSIDE } from "./inside_options.ts";
import type { Options } from "./parse.ts";
import { formerOpenFiles } from "./surroundings.ts";

/** Signals that are passed on to the program and do not end this process. */
const PASSED_ON = ["SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2"] as const;
/** Signals of a terminal's keys. The terminal sends them to its whole foreground process group. */
const OF_KEYS = ["SIGINT", "SIGQUIT"] as const;

/**
 * The words that start this program again: the compiled program, or the runtime with its main
 * module.
 */
function ownWords(): readonly string[] {
  if (Deno.build.standalone) return [Deno.execPath()];
  const flags = ["run", "--quiet", "--allow-all", "--no-check"];
  return [Deno.execPath(), ...flags, Deno.mainModule];
}

/** The program in the options and operands of `exec` and `shell`, without a root. */
export type Asked = Omit<InsideProgram, "root">;

/** @throws {VeneerError} `usage` if an option's value is invalid */
export function askedFor(options: Options, command: readonly string[]): Asked {
  const user = readUser(options.value("user") ?? "0");
  const workdir = options.value("workdir") ?? "/";
  if (!workdir.startsWith("/")) {
    throw new VeneerError("usage", `option --workdir ${JSON.stringify(workdir)}: begin it with /`);
  }
  return {
    mountSystem: options.flag("mount-system"),
    workdir,
    user,
    environment: environmentOf(options.values("env"), user),
    openFiles: formerOpenFiles(),
    command,
  };
}

function readUser(text: string): User {
  const [, uid, gid] = /^(\d{1,10})(?::(\d{1,10}))?$/.exec(text) ?? [];
  const user = { uid: Number(uid), gid: Number(gid ?? uid) };
  // The highest id is not valid: it is the `(uid_t) -1` of chown(2).
  if (user.uid < 0xffff_ffff && user.gid < 0xffff_ffff) return user;
  throw new VeneerError(
    "usage",
    `option --user ${
      JSON.stringify(text)
    }: write it as UID or UID:GID, such as 1000:1000; names are ` +
      "not looked up",
  );
}

/** PATH, HOME and TERM, and the variables that the options set or take from this environment. */
function environmentOf(given: readonly string[], { uid }: User): string[] {
  const variables = new Map([["PATH", DEFAULT_PATH], ["HOME", uid === 0 ? "/root" : "/"]]);
  const term = Deno.env.get("TERM");
  if (term !== undefined) variables.set("TERM", term);
  for (const text of given) {
    const [, name, value] = /^([^=]+)(?:=(.*))?$/s.exec(text) ?? [];
    if (name === undefined) {
      throw new VeneerError(
        "usage",
        `option --env ${JSON.stringify(text)}: write it as NAME=VALUE`,
      );
    }
    const taken = value ?? Deno.env.get(name);
    if (taken !== undefined) variables.set(name, taken);
  }
  return Array.from(variables, ([name, value]) => `${name}=${value}`);
}

/** A tree that is mounted while a program runs in it. */
export interface Tree {
  /** Mounts it; returns the path of its root. */
  mount(): string | Promise<string>;
  unmount(): void | Promise<void>;
}

/**
 * Runs a program in a tree; returns its exit status, which is 128 or more if a signal ended it.
 *
 * From before the mount until after the unmount, the signals above do not end this process. They
 * are passed on to the program, except those of a terminal's keys, which it gets from the terminal.
 */
export async function runInside(tree: Tree, asked: Asked): Promise<number> {
  using signals = new PassedOnSignals();
  const root = await tree.mount();
  try {
    return (await signals.to(start(root, asked)).status).code;
  } finally {
    await tree.unmount();
  }
}

function start(root: string, { command, ...asked }: Asked): Deno.ChildProcess {
  const [program, ...first] = ownWords();
  return new Deno.Command(program, {
    args: [...first, INSIDE, JSON.stringify({ root, ...asked }), ...command],
    stdin: "inherit",
    stdout: "inherit",
    stderr: "inherit",
  }).spawn();
}

/** Catches signals to this process for a program that is started later. */
class PassedOnSignals implements Disposable {
  readonly #handlers = new DisposableStack();
  /** The signals before the start of the program. */
  readonly #early: Deno.Signal[] = [];
  #child: Deno.ChildProcess | undefined;

  constructor() {
    const isOnTerminal = Deno.stdin.isTerminal();
    for (const signal of PASSED_ON) this.#handle(signal, () => this.#pass(signal));
    for (const signal of OF_KEYS) {
      this.#handle(signal, isOnTerminal ? () => {} : () => this.#pass(signal));
    }
  }

  #handle(signal: Deno.Signal, handler: () => void): void {
    Deno.addSignalListener(signal, handler);
    this.#handlers.defer(() => Deno.removeSignalListener(signal, handler));
  }

  #pass(signal: Deno.Signal): void {
    if (this.#child === undefined) this.#early.push(signal);
    else tryKill(this.#child, signal);
  }

  /** Passes the signals on to a program from now on; returns the program. */
  to(child: Deno.ChildProcess): Deno.ChildProcess {
    this.#child = child;
    for (const signal of this.#early.splice(0)) tryKill(child, signal);
    return child;
  }

  [Symbol.dispose](): void {
    this.#handlers.dispose();
  }
}

function tryKill(child: Deno.ChildProcess, signal: Deno.Signal): void {
  try {
    child.kill(signal);
  } catch (error) {
    // The program has ended.
    if (!(error instanceof TypeError || error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** The program of `shell`: bash if the tree has it, otherwise sh. */
export const SHELL_COMMAND = [
  "/bin/sh",
  "-c",
  "if [ -x /bin/bash ]; then exec /bin/bash -l; else exec /bin/sh -l; fi",
] as const;
