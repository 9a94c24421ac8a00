/**
 * Runs a command line: parses it, loads the requested command, runs it, and turns any error into
 * one line and an exit status.
 *
 * @module
 */
import { EPIPE, SyscallError } from "../../../ffi/errno.ts";
import { INSIDE } from "../inside_options.ts";
import { Output, ReaderGone } from "../output.ts";
import { type Invocation, type Options, parseCommandLine } from "../parse.ts";
import { checkArguments, raiseDescriptorLimit } from "../surroundings.ts";
import type { LogLevel } from "../table.ts";
import { CommandContext, type Drivers, type Run } from "./context.ts";

/**
 * The modules of all commands. Their names are literals, so that a compiled program contains them.
 */
export const LOADERS: Readonly<Record<string, () => Promise<{ readonly run: Run }>>> = {
  "create": () => import("./create.ts"),
  "rm": () => import("./rm.ts"),
  "mount": () => import("./mount.ts"),
  "umount": () => import("./umount.ts"),
  "exec": () => import("./exec.ts"),
  "shell": () => import("./shell.ts"),
  "exists": () => import("./exists.ts"),
  "ls": () => import("./ls.ts"),
  "tree": () => import("./tree.ts"),
  "df": () => import("./df.ts"),
  "inspect": () => import("./inspect.ts"),
  "changes": () => import("./changes.ts"),
  "diff": () => import("./diff.ts"),
  "apply": () => import("./apply.ts"),
  "diffsize": () => import("./diffsize.ts"),
  "snapshot prepare": () => import("./snapshot/prepare.ts"),
  "snapshot view": () => import("./snapshot/view.ts"),
  "snapshot exec": () => import("./snapshot/exec.ts"),
  "snapshot shell": () => import("./snapshot/shell.ts"),
  "snapshot apply": () => import("./snapshot/apply.ts"),
  "snapshot diff": () => import("./snapshot/diff.ts"),
  "snapshot changes": () => import("./snapshot/changes.ts"),
  "snapshot commit": () => import("./snapshot/commit.ts"),
  "snapshot mounts": () => import("./snapshot/mounts.ts"),
  "snapshot mount": () => import("./snapshot/mount.ts"),
  "snapshot umount": () => import("./snapshot/umount.ts"),
  "snapshot rm": () => import("./snapshot/rm.ts"),
  "snapshot stat": () => import("./snapshot/stat.ts"),
  "snapshot label": () => import("./snapshot/label.ts"),
  "snapshot ls": () => import("./snapshot/ls.ts"),
  "snapshot tree": () => import("./snapshot/tree.ts"),
  "snapshot df": () => import("./snapshot/df.ts"),
  "snapshot usage": () => import("./snapshot/usage.ts"),
  "snapshot cleanup": () => import("./snapshot/cleanup.ts"),
  "image import": () => import("./image/import.ts"),
  "image ls": () => import("./image/ls.ts"),
  "image inspect": () => import("./image/inspect.ts"),
  "image tree": () => import("./image/tree.ts"),
  "image tag": () => import("./image/tag.ts"),
  "image rm": () => import("./image/rm.ts"),
  "image history": () => import("./image/history.ts"),
  "image mount": () => import("./image/mount.ts"),
  "image umount": () => import("./image/umount.ts"),
  "image commit": () => import("./image/commit.ts"),
  "image export": () => import("./image/export.ts"),
  "image exec": () => import("./image/exec.ts"),
  "image shell": () => import("./image/shell.ts"),
  "container ls": () => import("./container/ls.ts"),
  "container diff": () => import("./container/diff.ts"),
  "container export": () => import("./container/export.ts"),
  "container commit": () => import("./container/commit.ts"),
  "serve containerd": () => import("./serve/containerd.ts"),
  "serve docker": () => import("./serve/docker.ts"),
  "config containerd": () => import("./config/containerd.ts"),
  "config docker": () => import("./config/docker.ts"),
  "config buildkit": () => import("./config/buildkit.ts"),
  "config systemd": () => import("./config/systemd.ts"),
  "config show": () => import("./config/show.ts"),
  "status": () => import("./status.ts"),
  "cleanup": () => import("./cleanup.ts"),
  "migrate": () => import("./migrate.ts"),
  "check": () => import("./check.ts"),
  "repair": () => import("./repair.ts"),
  "gc": () => import("./gc.ts"),
  "doctor": () => import("./doctor.ts"),
  "version": () => import("./version.ts"),
  "completions": () => import("./completions.ts"),
  "help": () => import("./help.ts"),
};

/** Commands that need neither settings nor a higher limit of open files. */
const NEEDS_NOTHING: ReadonlySet<string> = new Set([
  "version",
  "completions",
  "help",
  "config containerd",
  "config docker",
  "config buildkit",
  "config systemd",
  "config show",
]);

/** The status that a shell reports for a program that SIGPIPE ended, as it ends other programs. */
const READER_GONE = 128 + 13;

/** Runs a command line; returns its exit status. */
export async function dispatch(args: readonly string[], drivers: Drivers): Promise<number> {
  if (args[0] === INSIDE) return (await import("./inside.ts")).inside(args);
  let invocation: Invocation;
  try {
    checkArguments(args);
    invocation = parseCommandLine(args);
  } catch (error) {
    return new Output(args.includes("--json"), "warn").error(error);
  }
  const { options } = invocation;
  const level = (options.value("log-level") ?? "warn") as LogLevel;
  const output = new Output(options.flag("json"), level, {
    root: options.value("root"),
    driver: options.value("driver"),
    service: options.value("service"),
  });
  if (level === "debug") await tellCalls(output);
  try {
    const status = await run(invocation, output, drivers);
    output.flush();
    return status;
  } catch (error) {
    return isReaderGone(error) ? READER_GONE : output.error(error);
  }
}

async function tellCalls(output: Output): Promise<void> {
  const { calls } = await import("../../../ffi/trace.ts");
  calls.tell = (call) => output.debug(call);
}

async function run(
  { command, options, operands }: Invocation,
  output: Output,
  drivers: Drivers,
): Promise<number> {
  if (options.flag("help")) {
    const [{ helpText }, { outputColumns }] = await Promise.all([
      import("../help.ts"),
      import("../wrap.ts"),
    ]);
    output.result({ help: helpText(command) }, () => [helpText(command, outputColumns())]);
    return 0;
  }
  const name = options.flag("version") ? "version" : command!.name;
  if (!NEEDS_NOTHING.has(name)) raiseDescriptorLimit();
  const [{ run }, completed] = await Promise.all([LOADERS[name](), withSettings(name, options)]);
  return await run(new CommandContext(output, completed, operands, drivers)) ?? 0;
}

/** The options with the settings of the environment and of the configuration file. */
async function withSettings(name: string, options: Options): Promise<Options> {
  if (NEEDS_NOTHING.has(name)) return options;
  const { completedOptions, readSettings } = await import("../settings.ts");
  // dockerd names the root of Docker's plugin.
  const without = name === "serve docker" ? ["root"] : [];
  return completedOptions(options, await readSettings(options, without));
}

function isReaderGone(error: unknown): boolean {
  return error instanceof ReaderGone || (error instanceof SyscallError && error.errno === EPIPE);
}
