/**
 * Interrupts commands that mount layers to read them, by any signal at any moment: the next command
 * must find no mount, no use and no file left by them. The cases are for any driver.
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { lstat } from "../../ffi/stat.ts";
import { IDENTITY } from "../../lib/base/id_maps.ts";
import { PROGRAM, refusal, veneer } from "./commands.ts";
import { openDriver } from "./drivers.ts";
import { fill } from "./layers.ts";
import { mountImage } from "../runner/images.ts";
import { until } from "./processes.ts";
import { IN_GUEST, IS_LONG, mountPoints, must, needs, tempDir } from "./cases.ts";
import { names } from "./files.ts";

/** A driver whose commands are interrupted. */
export interface Interrupted {
  readonly driver: "overlay2" | "btrfs" | "devicemapper";
  /** The reason why it does not run here, if it does not. */
  readonly lacking: string | undefined;
  /** Options of the driver. */
  readonly options?: readonly string[];
  /** Checks that nothing else is left; `root` is the store's. */
  readonly assertIdle?: (root: string) => void;
}

interface Layer {
  readonly id: string;
  readonly references: number;
  readonly mountPoint: string | null;
}

/**
 * A store with `bottom` and, on it, `child`, whose files and names each exceed the size of a pipe.
 */
class Store implements Disposable {
  readonly #resources = new DisposableStack();
  readonly root: string;
  readonly output: string;

  constructor(readonly subject: Interrupted) {
    const { driver } = subject;
    const dir = this.#resources.use(tempDir("interrupted-"));
    const place = driver === "btrfs"
      ? this.#resources.use(mountImage("btrfs", dir.path)).mountPoint
      : dir.path;
    this.root = join(place, "store");
    this.output = join(dir.path, "output");
    Deno.mkdirSync(this.output);
    this.#fill();
  }

  /** Makes the layers in this process, because starting a process takes a second in a guest. */
  #fill(): void {
    const { driver, options = [] } = this.subject;
    const warn = (message: string) => {
      throw new Error(`a warning: ${message}`);
    };
    const store = openDriver({ root: this.root, driver, options, idMaps: IDENTITY, warn });
    store.create("bottom");
    fill(store, "child", (root) => {
      Deno.writeFileSync(join(root, "large"), new Uint8Array(4 << 20).fill(1));
      const name = "n".repeat(200);
      for (let i = 0; i < 1000; i++) Deno.writeTextFileSync(join(root, `${name}${i}`), "");
    }, "bottom");
  }

  #arguments(args: string[]): string[] {
    const { driver, options = [] } = this.subject;
    const own = options.flatMap((option) => ["--option", option]);
    return ["--root", this.root, "--driver", driver, ...own, ...args];
  }

  run(...args: string[]) {
    return veneer(...this.#arguments(args));
  }

  must(...args: string[]): string {
    const { code, stdout, stderr } = this.run(...args);
    assertEquals({ code, stderr }, { code: 0, stderr: "" }, args.join(" "));
    return stdout;
  }

  layers(): Layer[] {
    return JSON.parse(this.must("ls", "--json"));
  }

  /** Starts a command whose output is not read yet. */
  start(...args: string[]): Deno.ChildProcess {
    const [program, ...first] = PROGRAM;
    const all = [...first, ...this.#arguments(args)];
    return new Deno.Command(program, { args: all, stdin: "null", stdout: "piped", stderr: "piped" })
      .spawn();
  }

  get home(): string {
    return join(this.root, this.subject.driver);
  }

  /** The directory of the store's run-time state. */
  get state(): string {
    const { devMajor, devMinor, inode } = lstat(this.home);
    return `/run/veneer/${devMajor}.${devMinor}-${inode}`;
  }

  /** The mount points of layers, without the mount of the home on itself. */
  mounts(): string[] {
    return mountPoints(this.root).filter((path) => path !== this.home);
  }

  /** Checks that an interrupted command has left nothing. The next command is `ls`. */
  assertNothingLeft(what: string): void {
    assertEquals(
      this.layers().map(({ id, references, mountPoint }) => [id, references, mountPoint]),
      [["bottom", 0, null], ["child", 0, null]],
      what,
    );
    assertEquals(this.mounts(), [], what);
    assertEquals(names(this.output), [], what);
    for (const folder of ["layers", "use"]) {
      assertEquals(names(join(this.state, folder)), [], `${what}: ${folder}`);
    }
    assertEquals(names(join(this.home, ".veneer/staging")), [], what);
    this.subject.assertIdle?.(this.root);
  }

  [Symbol.dispose](): void {
    this.run("cleanup");
    this.#resources[Symbol.dispose]();
  }
}

const SIGNALS = ["SIGKILL", "SIGINT", "SIGTERM"] as const;

/**
 * The commands and signals. In a guest each occurs once, because no driver depends on the signal.
 */
const INTERRUPTIONS = IN_GUEST && !IS_LONG
  ? [["diff", "SIGINT"], ["changes", "SIGTERM"]] as const
  : SIGNALS.flatMap((signal) => ["diff", "changes"].map((command) => [command, signal] as const));

async function interrupt(child: Deno.ChildProcess, signal: Deno.Signal) {
  child.kill(signal);
  const { signal: ended } = await child.output();
  return ended;
}

/** Registers the cases for a driver. */
export function interruptedTransfers(subject: Interrupted): void {
  const { driver, lacking } = subject;

  needs(lacking, `interrupted: ${driver}: a transfer's mounts end with it`, async () => {
    using store = new Store(subject);
    for (const [command, signal] of INTERRUPTIONS) {
      const child = store.start(command, "child", "--parent", "");
      await until("the mount", () => store.mounts().length > 0);
      await new Promise((resolve) => setTimeout(resolve, 50));
      assertEquals(await interrupt(child, signal), signal);
      assert(store.mounts().length > 0, "nobody was there to unmount");
      store.assertNothingLeft(`${signal} in ${command}`);
    }
    // A removal unmounts it as well, and is not refused.
    const child = store.start("diff", "child", "--parent", "");
    await until("the mount", () => store.mounts().length > 0);
    await interrupt(child, "SIGKILL");
    store.must("rm", "child", "bottom");
    store.must("cleanup");
    assertEquals(mountPoints(store.root), []);
  });

  needs(lacking, `interrupted: ${driver}: at any moment`, async () => {
    using store = new Store(subject);
    const rounds = IS_LONG ? 100 : IN_GUEST ? 4 : 6;
    const file = join(store.output, "child.tar");
    const commands = [
      ["diff", "child", "--parent", ""],
      ["changes", "child", "--parent", ""],
      ["diffsize", "child", "--parent", ""],
      ["diff", "child", "--parent", "", "-o", file],
    ];
    const started = performance.now();
    store.must("diffsize", "child", "--parent", "");
    const length = performance.now() - started;
    let interrupted = 0;
    for (let round = 0; round < rounds; round++) {
      const command = commands[round % commands.length], signal = SIGNALS[round % SIGNALS.length];
      const child = store.start(...command);
      await new Promise((resolve) => setTimeout(resolve, length * (0.4 + 0.6 * Math.random())));
      try {
        child.kill(signal);
      } catch { /* It was done. */ }
      if ((await child.output()).signal === signal) interrupted++;
      // If the command was killed at its very end, the file exists and is complete.
      if (names(store.output).includes("child.tar")) {
        must("tar", "-tf", file);
        Deno.removeSync(file);
      }
      store.assertNothingLeft(`${signal} in ${command.join(" ")}`);
    }
    assert(interrupted > 0, "some were interrupted");
    store.must("rm", "child", "bottom");
    store.must("cleanup");
    assertEquals(mountPoints(store.root), []);
  });

  needs(lacking, `interrupted: ${driver}: a running transfer keeps its mount`, async () => {
    using store = new Store(subject);
    const first = store.start("diff", "child", "--parent", "");
    await until("the mount", () => store.mounts().length > 0);
    const [mount] = store.mounts();
    const shown = store.layers().find(({ id }) => id === "child");
    assertEquals([shown?.references, shown?.mountPoint], [0, mount], "it is no user's");
    assertStringIncludes(refusal("in use", store.run("rm", "child")), "is being transferred by");
    assertStringIncludes(refusal("failed precondition", store.run("umount", "child")), "mounted");
    store.must("cleanup");
    assertEquals(store.mounts(), [mount]);

    // A user that ends first leaves the mount to the transfer; a user that outlives the transfer
    // keeps the mount.
    store.must("mount", "child", "--read-only");
    store.must("umount", "child");
    assertEquals(store.mounts(), [mount]);
    const second = store.start("changes", "child", "--parent", "");
    await until("the second one", () => {
      const { inode } = lstat(join(store.state, "use/child"));
      const holders = Deno.readTextFileSync("/proc/locks").matchAll(
        new RegExp(`FLOCK .*:${inode} `, "g"),
      );
      return [...holders].length === 2;
    });
    const { code, stdout } = await first.output();
    assertEquals([code, stdout.length > 4 << 20], [0, true]);
    assertEquals((await second.output()).code, 0);
    store.assertNothingLeft("two transfers that went to their ends");

    const third = store.start("diff", "child", "--parent", "");
    await until("the mount", () => store.mounts().length > 0);
    store.must("mount", "child", "--read-only");
    assertEquals(await interrupt(third, "SIGKILL"), "SIGKILL");
    const kept = store.layers().find(({ id }) => id === "child");
    assertEquals([kept?.references, kept?.mountPoint], [1, mount]);
    store.must("umount", "child");
    store.assertNothingLeft("a user that outlived a transfer");
  });
}
