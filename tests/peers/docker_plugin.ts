/**
 * A daemon of Docker's on the plugin, and what people do with Docker.
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { mountPoints, must } from "../support/cases.ts";
import { isThere } from "../support/files.ts";
import { Process } from "../services/service_support.ts";
import { TestPlugin } from "../services/docker_support.ts";
import { LayerLedger } from "./layer_ledger.ts";
import { type DaemonSettings, Docker, type Driver, makeSystem, parentsByDocker } from "./docker.ts";

const PROGRAMS = ["sh", "cat", "ls", "rm", "mkdir", "chmod", "stat", "sleep", "dd"];
/** The host's id of root in a user namespace. */
export const REMAPPED = 100000;

const NO_NETWORK = ["--network", "none"];

const DOCKERFILE = `FROM base AS first
RUN mkdir -p /a/b && echo one >/a/b/one && chmod 700 /a/b
FROM base
COPY --from=first --chown=7:8 /a /copied
COPY file /file
RUN rm /etc/gone && echo two >/etc/two
CMD ["cat", "/copied/b/one", "/etc/two"]
`;

/** A plugin with its daemon. */
export class PluginDocker implements AsyncDisposable {
  readonly docker: Docker;

  private constructor(readonly plugin: TestPlugin, driver: Driver, settings: DaemonSettings) {
    this.docker = new Docker(this.path("d"), driver, [], {
      ...settings,
      storageDriver: plugin.name,
      args: ["--experimental", ...settings.args ?? []],
    });
  }

  static async start(
    driver: Driver,
    settings: DaemonSettings = {},
    options: readonly string[] = [],
  ): Promise<PluginDocker> {
    const plugin = await TestPlugin.named(driver, ...options.flatMap((option) => ["-o", option]));
    // The root of a user namespace has to pass.
    Deno.chmodSync(plugin.directory.path, 0o711);
    const both = new PluginDocker(plugin, driver, settings);
    try {
      both.docker.start();
      return both;
    } catch (error) {
      console.error(plugin.process.log);
      await both[Symbol.asyncDispose]();
      throw error;
    }
  }

  path(name: string): string {
    return join(this.plugin.directory.path, name);
  }

  /** The daemon's directory, which is one of the user's if root is remapped. */
  get #root(): string {
    const ofUser = join(this.docker.root, `${REMAPPED}.${REMAPPED}`);
    return isThere(ofUser) ? ofUser : this.docker.root;
  }

  /** Where the plugin keeps layers. */
  get store(): string {
    return join(this.#root, this.plugin.name, this.plugin.driver);
  }

  /** Runs a command in a new container; returns what it prints. */
  run(image: string, ...command: string[]): string {
    return this.docker.must("run", "--rm", ...NO_NETWORK, image, ...command);
  }

  /**
   * Reads a file of an image. A container's output would not do: the daemon waits 2 s for it when the
   * container has ended, and then drops it.
   */
  read(image: string, path: string): string {
    const { docker } = this, file = this.path("read");
    const container = docker.must("create", ...NO_NETWORK, image);
    docker.must("cp", `${container}:${path}`, file);
    docker.must("rm", container);
    return Deno.readTextFileSync(file).trimEnd();
  }

  build(tag: string, dockerfile: string, files: Readonly<Record<string, string>> = {}): string[] {
    const context = this.path(`context-${tag}`);
    Deno.mkdirSync(context, { recursive: true });
    for (const [name, content] of Object.entries({ ...files, Dockerfile: dockerfile })) {
      Deno.writeTextFileSync(join(context, name), content);
    }
    return ["build", "--quiet", ...NO_NETWORK, "-t", tag, context];
  }

  importBase(): void {
    const system = this.path("system");
    makeSystem(system, PROGRAMS);
    Deno.mkdirSync(join(system, "etc"));
    Deno.writeTextFileSync(join(system, "etc/motd"), "hello\n");
    Deno.writeTextFileSync(join(system, "etc/gone"), "gone\n");
    must("tar", "-C", system, "-cf", `${system}.tar`, ".");
    this.docker.must("import", `${system}.tar`, "base");
  }

  /** Removes all containers and images. */
  removeAll(): void {
    const { docker } = this;
    const ids = (...args: string[]) => docker.must(...args).split("\n").filter(Boolean);
    const containers = ids("ps", "-aq");
    if (containers.length > 0) docker.must("rm", "--force", ...containers);
    docker.try("builder", "prune", "--all", "--force");
    for (let tries = 0; tries < 10; tries++) {
      const images = [...new Set(ids("images", "-aq"))];
      if (images.length === 0) return;
      docker.try("rmi", "--force", ...images);
    }
    throw new Error("images are left");
  }

  /** The layers' ids. */
  layers(): string[] {
    const directory = { overlay2: "", btrfs: "subvolumes", devicemapper: "metadata" };
    const at = join(this.store, directory[this.docker.driver]);
    return [...Deno.readDirSync(at)].map(({ name }) => name)
      .filter((name) => /^[0-9a-z]{25,}(-init)?$/.test(name));
  }

  /**
   * All is removed: no layer is mounted, and none is left but those that Docker itself lists yet.
   * 26.1 forgets a container that was exported, with its own drivers as well.
   */
  assertEmpty(): void {
    this.removeAll();
    const { images, containers } = parentsByDocker(this.#root, this.plugin.name);
    assertEquals(this.layers().sort(), Object.keys({ ...images, ...containers }).sort());
    this.assertUnmounted();
  }

  /** No layer is mounted. @param counted those that may be */
  assertUnmounted(counted: ReadonlySet<string> = new Set()): void {
    const left = mountPoints(this.store).filter((point) => point !== this.store);
    const isCounted = (point: string) =>
      point.slice(this.store.length).split("/").some((name) => counted.has(name));
    assertEquals(left.filter((point) => !isCounted(point)), []);
  }

  /** When a layer was made, in milliseconds since 1970, by a file that is made with it. */
  #madeAt(id: string): number {
    const file = this.docker.driver === "overlay2" ? join(id, "link") : join(".veneer/parents", id);
    const path = join(this.store, file);
    return isThere(path) ? Deno.statSync(path).mtime!.getTime() : 0;
  }

  get #ledger(): LayerLedger {
    return new LayerLedger(this.plugin.log(), this.plugin.kills);
  }

  /** The layers that Docker has records of; none of those that only BuildKit has. */
  #recorded(): Set<string> {
    const { images, containers } = parentsByDocker(this.#root, this.plugin.name);
    return new Set([...Object.keys(images), ...Object.keys(containers)].filter((id) => id !== ""));
  }

  /**
   * No layer is lost after kills: neither one that the plugin reported made, nor one that Docker has a
   * record of. Only a layer that Docker was just removing may have a record and be gone.
   */
  async assertKept(): Promise<void> {
    await this.plugin.isHeard();
    const ledger = this.#ledger, there = new Set(this.layers());
    assertEquals(ledger.kept().filter((id) => !there.has(id)), []);
    const gone = [...this.#recorded()].filter((id) => !there.has(id));
    assertEquals(gone.filter((id) => !ledger.isRemoved(id)), []);
  }

  /**
   * All is removed, by a daemon that was killed: it forgets layers that it was about to use, as with its
   * own drivers. Of these none is mounted but what it got and never put, or was getting when the plugin
   * was killed: a container's start mounts a layer before it is recorded, and a plugin cannot tell that
   * from a container that goes on to run. No other layer is left.
   */
  async assertForgotten(): Promise<void> {
    this.removeAll();
    await this.assertKept();
    const ledger = this.#ledger, recorded = this.#recorded();
    const cutOff = this.layers().filter((id) => ledger.isCutOff(id));
    this.assertUnmounted(new Set([...this.plugin.counted(), ...cutOff]));
    const forgotten = this.layers().filter((id) => !recorded.has(id));
    const madeAt = (id: string) => this.#madeAt(id);
    assertEquals(forgotten.filter((id) => !ledger.isOfKill(id, madeAt)), []);
    console.log(`${forgotten.length} layers were forgotten by kills`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.docker[Symbol.asyncDispose]();
    await this.plugin[Symbol.asyncDispose]();
  }
}

/** What people do, from the first image to the last. */
export function everyday(both: PluginDocker, { hasSizes }: { hasSizes: boolean }): void {
  const { docker, plugin } = both;
  both.importBase();
  assertEquals(docker.must("info", "--format", "{{.Driver}}"), plugin.name);
  assertEquals(both.run("base", "cat", "/etc/motd"), "hello");

  docker.must(...both.build("built", DOCKERFILE, { file: "file\n" }));
  assertEquals(both.run("built"), "one\ntwo");
  assertEquals(both.run("built", "stat", "-c", "%u:%g %a", "/copied/b"), "7:8 700");

  docker.must("run", "--detach", "--name", "box", ...NO_NETWORK, "built", "sleep", "1000");
  docker.must("exec", "box", "sh", "-c", "echo new >/etc/new; rm /etc/two");
  Deno.writeTextFileSync(both.path("in"), "copied in\n");
  docker.must("cp", both.path("in"), "box:/etc/in");
  docker.must("cp", "box:/etc/new", both.path("out"));
  assertEquals(Deno.readTextFileSync(both.path("out")), "new\n");
  const changes = docker.must("diff", "box").split("\n").sort();
  assertEquals(changes, ["A /etc/in", "A /etc/new", "C /etc", "D /etc/two"]);
  docker.must("commit", "box", "kept");
  docker.must("export", "--output", both.path("exported"), "box");
  const exported = must("tar", "-tf", both.path("exported")).split("\n");
  assert(exported.includes("etc/in") && !exported.includes("etc/two"));
  assertEquals(both.run("kept", "cat", "/etc/in"), "copied in");
  assertStringIncludes(docker.must("history", "kept"), "sleep 1000");
  docker.must("rm", "--force", "box");

  const id = docker.must("images", "--quiet", "--no-trunc", "kept");
  docker.must("save", "--output", both.path("saved"), "kept");
  docker.must("rmi", "kept");
  docker.must("load", "--input", both.path("saved"));
  assertEquals(docker.must("images", "--quiet", "--no-trunc", "kept"), id);
  assertEquals(both.run("kept", "cat", "/etc/new"), "new");
  assertMatch(docker.must("system", "df"), /^Images +[1-9]/m);

  const many = "mkdir /m; i=0; while [ $i -lt 10000 ]; do echo >/m/$i; i=$((i+1)); done; rm -r /m";
  assertEquals(both.run("base", "sh", "-c", `${many}; ls -d /m || echo none`), "none");

  assertSize(both, hasSizes);
}

/** A container of 50 MiB takes no more, or is refused if the driver has no sizes there. */
export function assertSize({ docker }: PluginDocker, hasSizes: boolean): void {
  const fill = ["dd", "if=/dev/zero", "of=/large", "bs=1M", "count=60"];
  const sized = docker.try("run", "--rm", ...NO_NETWORK, "--storage-opt=size=50M", "base", ...fill);
  assertEquals(sized.success, false);
  assertMatch(sized.stderr, hasSizes ? /No space left|quota exceeded/i : /storage options? .*size/);
}

/** A daemon and the plugin are ended and killed, with a container at work. */
export async function restarts(both: PluginDocker): Promise<void> {
  const { docker, plugin } = both;
  const run = (name: string) =>
    docker.must("run", "--detach", "--name", name, ...NO_NETWORK, "base", "sleep", "1000");
  run("stays");
  for (const signal of ["SIGTERM", "SIGKILL"] as const) {
    docker.must("exec", "stays", "sh", "-c", `echo ${signal} >/etc/${signal}`);
    await plugin.process.end(signal);
    await plugin.restart();
    assertEquals(docker.must("exec", "stays", "cat", `/etc/${signal}`), signal);
    assertMatch(docker.must("diff", "stays"), new RegExp(`^A /etc/${signal}$`, "m"));
  }
  await docker.kill();
  docker.start();
  await docker.stop();
  docker.start();
  docker.must("start", "stays");
  assertEquals(docker.must("exec", "stays", "cat", "/etc/SIGKILL"), "SIGKILL");
  docker.must("rm", "--force", "stays");
}

/**
 * Kills one of both at random moments during builds: an image that was reported built is whole.
 *
 * @param random returns an integer below a limit
 */
export async function killed(
  both: PluginDocker,
  rounds: number,
  random: (limit: number) => number,
): Promise<void> {
  const { docker, plugin } = both;
  const reported: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const dockerfile = `FROM base\nRUN echo ${round} >/a\nRUN echo ${round} >>/a\nCMD cat /a\n`;
    const build = new Process(docker.words(...both.build(`kill${round}`, dockerfile)));
    await new Promise((resolve) => setTimeout(resolve, random(1500)));
    if (round % 2 === 0) {
      await plugin.kill();
    } else {
      await docker.kill();
      docker.start();
    }
    if (await build.ended() === 0) reported.push(round);
  }
  for (const round of reported) {
    assertEquals(both.read(`kill${round}`, "/a"), `${round}\n${round}`, `of ${reported}`);
  }
  await both.assertKept();
  console.log(`${reported.length} of ${rounds} builds were done`);
}

/** Several builds at once. */
export async function atOnce(both: PluginDocker, count: number): Promise<void> {
  const { docker } = both;
  const builds = Array.from({ length: count }, (_, i) => {
    const words = docker.words(
      ...both.build(`at${i}`, `FROM base\nRUN echo ${i} >/i\nCMD cat /i\n`),
    );
    return new Process(words);
  });
  const codes = await Promise.all(builds.map((build) => build.ended()));
  assertEquals(codes, codes.map(() => 0), builds.map(({ log }) => log).join("\n"));
  for (let i = 0; i < count; i++) assertEquals(both.run(`at${i}`), `${i}`);
}

/** Puts a file over one of this machine's, until it is disposed of. */
export function over(path: string, content: string): Disposable {
  const file = Deno.makeTempFileSync();
  Deno.writeTextFileSync(file, content);
  must("mount", "--bind", file, path);
  return {
    [Symbol.dispose]() {
      must("umount", path);
      Deno.removeSync(file);
    },
  };
}

/** A daemon whose containers' root is another user of this machine's. */
export async function remapped(driver: Driver, settings: DaemonSettings): Promise<void> {
  using _uids = over("/etc/subuid", `nobody:${REMAPPED}:65536\n`);
  using _gids = over("/etc/subgid", `nobody:${REMAPPED}:65536\n`);
  await using both = await PluginDocker.start(driver, {
    ...settings,
    args: ["--userns-remap=nobody:nogroup"],
  });
  both.importBase();
  both.docker.must(...both.build("built", DOCKERFILE, { file: "file\n" }));
  assertEquals(both.run("built"), "one\ntwo");
  assertEquals(both.run("built", "stat", "-c", "%u:%g", "/copied/b/one"), "7:8");
  const box = both.docker.must("run", "--detach", ...NO_NETWORK, "built", "sleep", "1000");
  both.docker.must("exec", box, "sh", "-c", "echo >/etc/new");
  const [pid] = both.docker.must("inspect", "--format", "{{.State.Pid}}", box).split("\n");
  assertEquals(Deno.statSync(`/proc/${pid}/root/etc/new`).uid, REMAPPED);
  both.docker.must("commit", box, "kept");
  assertEquals(both.run("kept", "stat", "-c", "%u", "/etc/new"), "0");
  both.assertEmpty();
}
