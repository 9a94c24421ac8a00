/**
 * What the cases on several processes share: commands that run beside a test, applies that stop halfway, and
 * the proof that a store holds nothing that it should not.
 */
import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { lstat } from "../ffi/stat.ts";
import { PROGRAM, type TestStore } from "./cli_support.ts";
import { mountPoints } from "./support.ts";

/** Names in a directory, sorted. */
export const names = (path: string) => [...Deno.readDirSync(path)].map(({ name }) => name).sort();

export const home = (store: TestStore) => join(store.root, "overlay2");

/** Where the run-time state of a store is. */
export function stateOf(store: TestStore): string {
  const { devMajor, devMinor, inode } = lstat(home(store));
  return `/run/veneer/${devMajor}.${devMinor}-${inode}`;
}

/** Checks that a store holds some layers and nothing else: no mounts, locks, marks, staged rests or stray links. */
export function assertNothingLeft(store: TestStore, layers: readonly string[]): void {
  const sorted = [...layers].sort();
  assertEquals(store.must("ls", "--quiet").split("\n").filter(Boolean), sorted);
  assertEquals(names(home(store)), [".veneer", "l", ...sorted].sort());
  for (const folder of ["staging", "incomplete", "parents"]) {
    assertEquals(names(join(home(store), ".veneer", folder)), [], folder);
  }
  for (const folder of ["layers", "use"]) {
    assertEquals(names(join(stateOf(store), folder)), [], `${stateOf(store)}/${folder}`);
  }
  const links = sorted.map((id) => Deno.readTextFileSync(join(home(store), id, "link"))).sort();
  assertEquals(names(join(home(store), "l")), links);
  for (const name of links) Deno.statSync(join(home(store), "l", name));
  store.must("cleanup");
  assertEquals(mountPoints(store.root), []);
}

/** A command on a store that runs beside the test. */
export function start(store: TestStore, ...args: string[]): Deno.ChildProcess {
  const [program, ...first] = PROGRAM;
  return new Deno.Command(program, {
    args: [...first, ...store.options, ...args],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

/** How a command ended that {@linkcode start} started; its input is closed. */
export async function end(child: Deno.ChildProcess) {
  if (!child.stdin.locked) await child.stdin.close().catch(() => {});
  const { code, success, stdout, stderr } = await child.output();
  const text = new TextDecoder();
  return { code, success, stdout: text.decode(stdout), stderr: text.decode(stderr) };
}

/** Waits until something is so. */
export async function until(what: string, isSo: () => boolean): Promise<void> {
  const deadline = performance.now() + 30_000;
  while (!isSo()) {
    assert(performance.now() < deadline, `waited 30 s for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

export const isThere = (path: string) => {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
};

/** Starts an apply and feeds it half of a tar of two megabytes, until the first file of it is in the layer and the second begun. */
export async function startApply(store: TestStore, id: string): Promise<Halfway> {
  const tar = store.tar(`${id}.tar`, { first: "first", second: "2".repeat(2 << 20), third: "3" });
  const bytes = Deno.readFileSync(tar);
  const child = start(store, "apply", id);
  const writer = child.stdin.getWriter();
  await writer.write(bytes.subarray(0, bytes.length / 2));
  await until("the second file", () => isThere(join(home(store), id, "diff/second")));
  return { tar, child, writer, rest: bytes.subarray(bytes.length / 2) };
}

export interface Halfway {
  readonly tar: string;
  readonly child: Deno.ChildProcess;
  readonly writer: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly rest: Uint8Array<ArrayBuffer>;
}

/** Ends the process of an apply as nothing can prevent. */
export async function kill({ child, writer }: Halfway): Promise<void> {
  child.kill("SIGKILL");
  await child.output();
  await writer.close().catch(() => {});
}

export const SIZE = `${"first".length + (2 << 20) + 1}\n`;
