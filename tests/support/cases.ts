/**
 * Helpers for test cases: directories of their own, and requirements of the machine.
 *
 * The runner (`tests/runner/run.ts`) sets `VENEER_TEST_DIR`, a directory on the file system under test, and
 * `VENEER_TEST_FS`, its name: `ext4`, `xfs`, `btrfs`, with an addition such as `xfs+pquota`. Alone, `deno test`
 * works in the system's directory for temporary files.
 */
import { readMountInfo } from "../../lib/mount/mountinfo.ts";
import { MNT_DETACH, umount, UMOUNT_NOFOLLOW } from "../../ffi/mount.ts";

/** The runner's name of the file system on which cases run; `""` without the runner. */
export const TEST_FS = Deno.env.get("VENEER_TEST_FS") ?? "";

/** Whether this is the inner loop (`make test-quick`), which leaves out long cases. */
export const IS_QUICK: boolean = Deno.env.has("VENEER_TEST_QUICK");

/**
 * Whether this is the long run (`make test-long`), which has more rounds and more environments of
 * the same cases.
 */
export const IS_LONG: boolean = Deno.env.has("VENEER_TEST_LONG");

/** The reason with which the inner loop skips a case; `undefined` in a whole run. */
export const notQuick: string | undefined = IS_QUICK ? "the whole run has it" : undefined;

/**
 * Whether this is a guest of `tools/uml`, where everything takes several times as long: cases that
 * are the same on any kernel run only on the machine's own.
 */
export const IN_GUEST: boolean = /^vendor_id\s*: User Mode Linux$/m.test(
  Deno.readTextFileSync("/proc/cpuinfo"),
);

/**
 * The depth of the deepest chains of layers in a guest, where one of 128 takes a minute;
 * `undefined` on this machine and in the long run.
 */
export const GUEST_DEPTH: number | undefined = IN_GUEST && !IS_LONG ? 24 : undefined;

/**
 * Marks a skipped case's name. The text after it, up to `]`, is the reason, which the runner lists.
 */
const SKIP_MARK = " [skipped: ";

/**
 * A directory of one case: `using dir = tempDir()`. Disposing of it unmounts all mounts below it.
 */
export interface TempDir extends Disposable {
  readonly path: string;
}

/** Makes an empty directory, on the file system under test unless another place is given. */
export function tempDir(prefix = "case-", dir = Deno.env.get("VENEER_TEST_DIR")): TempDir {
  const path = Deno.makeTempDirSync({ dir, prefix });
  return {
    path,
    [Symbol.dispose]() {
      unmountBelow(path);
      Deno.removeSync(path, { recursive: true });
    },
  };
}

/** Unmounts every mount at or below a directory, the last mounted first. */
export function unmountBelow(directory: string): void {
  for (const point of mountPoints(directory).reverse()) {
    umount(point, MNT_DETACH | UMOUNT_NOFOLLOW);
  }
}

/** The mount points at or below a directory, in the order of mounting. */
export function mountPoints(directory: string): string[] {
  const real = Deno.realPathSync(directory);
  return readMountInfo().map(({ mountPoint }) => mountPoint)
    .filter((point) => point === real || point.startsWith(`${real}/`));
}

/**
 * Registers a case that cannot run here, with the reason. The runner lists cases that ran nowhere.
 */
export function skip(name: string, reason: string): void {
  Deno.test({ name: `${name}${SKIP_MARK}${reason}]`, ignore: true, fn: () => {} });
}

/**
 * Registers a case that has a requirement of the machine.
 *
 * @param lacking the missing requirement, or `undefined` if it is met: see
 * {@linkcode lacksFileSystem}
 */
export function needs(
  lacking: string | undefined,
  name: string,
  body: (t: Deno.TestContext) => void | Promise<void>,
): void {
  if (lacking === undefined) Deno.test(name, body);
  else skip(name, lacking);
}

/** Splits a name that {@linkcode skip} registered into the case's name and the reason. */
export function parseSkipped(name: string): { name: string; reason?: string } {
  const at = name.indexOf(SKIP_MARK);
  if (at < 0) return { name };
  return { name: name.slice(0, at), reason: name.slice(at + SKIP_MARK.length, -1) };
}

/** The reason why a type of file system cannot be mounted here, if it cannot. Loads its module. */
export function lacksFileSystem(type: string): string | undefined {
  if (Deno.uid() !== 0) return "it needs root";
  const known = () =>
    new RegExp(`\\t${type}$`, "m").test(Deno.readTextFileSync("/proc/filesystems"));
  if (known()) return undefined;
  run("modprobe", type);
  return known() ? undefined : `the kernel has no ${type}`;
}

/** The reason why a program cannot be run here, if it cannot. */
export function lacksProgram(program: string): string | undefined {
  return run("sh", "-c", `command -v ${program}`).success
    ? undefined
    : `${program} is not installed`;
}

/** The output of a program and its exit status. */
export interface Ran {
  readonly success: boolean;
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * The most seconds of a command: one that waits for a program under test must not take the time of
 * all other cases.
 */
export const COMMAND_SECONDS = 300;

/** Runs the command that follows for at most that long. */
export const IN_TIME: readonly string[] = ["timeout", "--signal", "KILL", `${COMMAND_SECONDS}`];

/** Runs a program to its end. */
export function run(program: string, ...args: string[]): Ran {
  const { success, code, stdout, stderr } = new Deno.Command(program, { args, stdin: "null" })
    .outputSync();
  const text = new TextDecoder();
  return { success, code, stdout: text.decode(stdout), stderr: text.decode(stderr) };
}

/** Runs a program that must succeed; returns its output. */
export function must(program: string, ...args: string[]): string {
  const { success, code, stdout, stderr } = run(program, ...args);
  if (!success) throw new Error(`${program} ${args.join(" ")}: exit ${code}: ${stderr || stdout}`);
  return stdout;
}
