/**
 * Helpers for cases with several processes: commands that run beside a test, applies that stop
 * halfway, and a check that a store has no leftovers.
 */
import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { lstat } from "../../ffi/stat.ts";
import { PROGRAM, StoreCommands, type TestStore } from "./commands.ts";
import { type Image, type ImageKind, mountImage } from "../runner/images.ts";
import { mountPoints, type TempDir, tempDir } from "./cases.ts";
import { isThere, names } from "./files.ts";

export const home = (store: TestStore) => join(store.root, "overlay2");

/** The directory of a store's run-time state. */
export function stateOf(store: TestStore): string {
  const { devMajor, devMinor, inode } = lstat(home(store));
  return `/run/veneer/${devMajor}.${devMinor}-${inode}`;
}

/**
 * Checks that a store has these layers and nothing else: no mounts, locks, marks, staged entries or
 * stray links.
 */
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

/** A store on its own file system, of the kind that a driver needs. */
export class ImageStore extends StoreCommands implements Disposable {
  readonly #directory: TempDir = tempDir("image-");
  readonly image: Image;
  readonly root: string;
  readonly options: readonly string[];

  /**
   * @param bytes the size of the image: see {@linkcode mountImage}
   * @param options of the driver
   */
  constructor(
    readonly driver: "overlay2" | "btrfs" | "devicemapper",
    kind: ImageKind,
    bytes?: number,
    options: readonly string[] = [],
  ) {
    super();
    try {
      this.image = mountImage(kind, this.#directory.path, bytes);
    } catch (error) {
      this.#directory[Symbol.dispose]();
      throw error;
    }
    this.root = join(this.image.mountPoint, "store");
    const given = options.flatMap((option) => ["--option", option]);
    this.options = ["--root", this.root, "--driver", driver, ...given];
  }

  /** A path beside the image, for tars and other files of the case. */
  path(name: string): string {
    return join(this.#directory.path, name);
  }

  /** The mount points below the store. */
  mountPoints(): string[] {
    return mountPoints(this.image.mountPoint).slice(1);
  }

  #removeSnapshots(): void {
    for (const { name } of this.json<{ name: string }[]>("snapshot", "ls")) {
      this.run("snapshot", "umount", name);
    }
    this.must("snapshot", "cleanup");
    this.#removeEach(["snapshot", "rm"], () => this.must("snapshot", "ls", "--quiet"));
    this.must("snapshot", "cleanup");
  }

  /** Removes every layer and snapshot, as a user would. No mount and no staged entry may stay. */
  removeAll(): void {
    for (
      const { id, references } of this.json<{ id: string; references: number }[]>("ls")
    ) {
      for (let left = references; left > 0; left--) this.must("umount", id);
    }
    this.must("cleanup");
    this.#removeEach(["rm"], () => this.must("ls", "--quiet"));
    if (isThere(join(this.root, "snapshots", this.driver))) this.#removeSnapshots();
    this.must("cleanup");
    assertEquals(this.mountPoints(), []);
    for (const path of [this.driver, join("snapshots", this.driver)]) {
      const staging = join(this.root, path, ".veneer/staging");
      if (isThere(staging)) assertEquals(names(staging), [], staging);
    }
  }

  /** Removes everything that a command lists, children before their parents. */
  #removeEach(command: readonly string[], list: () => string): void {
    const listed = () => list().split("\n").filter(Boolean);
    for (let left = listed(); left.length > 0;) {
      const said = left.map((id) => this.run(...command, id).stderr).join("");
      const now = listed();
      assert(now.length < left.length, `not to be removed: ${now.join(", ")}: ${said}`);
      left = now;
    }
  }

  [Symbol.dispose](): void {
    this.image[Symbol.dispose]();
    this.#directory[Symbol.dispose]();
  }
}

/** A command on a store that runs beside the test. */
export function start(
  store: Pick<TestStore, "options">,
  ...args: string[]
): Deno.ChildProcess {
  const [program, ...first] = PROGRAM;
  return new Deno.Command(program, {
    args: [...first, ...store.options, ...args],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

/** Closes the input of a command from {@linkcode start}, and returns its output and exit status. */
export async function end(child: Deno.ChildProcess) {
  if (!child.stdin.locked) await child.stdin.close().catch(() => {});
  const { code, success, stdout, stderr } = await child.output();
  const text = new TextDecoder();
  return { code, success, stdout: text.decode(stdout), stderr: text.decode(stderr) };
}

/** Waits until a condition holds. */
export async function until(what: string, isSo: () => boolean): Promise<void> {
  const deadline = performance.now() + 120_000;
  while (!isSo()) {
    assert(performance.now() < deadline, `waited 120 s for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/**
 * Starts an apply and feeds it half of a tar of two megabytes, until the layer has the first file
 * and the second one is begun.
 */
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

/** Kills the process of an apply. */
export async function kill({ child, writer }: Halfway): Promise<void> {
  child.kill("SIGKILL");
  await child.output();
  await writer.close().catch(() => {});
}

export const SIZE = `${"first".length + (2 << 20) + 1}\n`;
