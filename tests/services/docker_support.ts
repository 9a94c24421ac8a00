/** A graph driver plugin for one case, and a client that uses it like dockerd. */
import { assertEquals } from "@std/assert";
import { basename, join } from "@std/path";
import { PROGRAM } from "../support/commands.ts";
import { mountPoints, type TempDir, tempDir } from "../support/cases.ts";
import { isThere } from "../support/files.ts";
import { Process } from "./service_support.ts";

/** An answer: its status and its JSON. */
export interface Answer {
  readonly status: number;
  // deno-lint-ignore no-explicit-any -- cases name the fields that they expect
  readonly body: any;
}

/** A running plugin. */
export class TestPlugin implements AsyncDisposable {
  readonly directory: TempDir = tempDir("plugin-");
  readonly address: string;
  /** The home for `Init`. */
  readonly home = join(this.directory.path, "data/veneer");
  process: Process;
  /** When it was killed by {@linkcode kill}, in milliseconds since 1970. */
  readonly kills: number[] = [];
  /** The logs of the processes before this one. */
  #saidBefore = "";
  readonly #client: Deno.HttpClient;

  private constructor(
    readonly driver: string,
    readonly options: readonly string[],
    address?: string,
  ) {
    this.address = address ?? join(this.directory.path, "v.sock");
    this.process = this.#spawn();
    this.#client = Deno.createHttpClient({ proxy: { transport: "unix", path: this.address } });
  }

  /** Starts a plugin, without `Init`. @param options the options before the command */
  static async bare(driver = "overlay2", ...options: string[]): Promise<TestPlugin> {
    const plugin = new TestPlugin(driver, options);
    await plugin.#listens();
    return plugin;
  }

  /** Starts a plugin with a unique name, at the address where a daemon finds it by this name. */
  static async named(driver: string, ...options: string[]): Promise<TestPlugin> {
    const name = `veneer-${crypto.randomUUID().slice(0, 8)}`;
    const plugin = new TestPlugin(driver, options, `/run/docker/plugins/${name}.sock`);
    await plugin.#listens();
    return plugin;
  }

  /** Its name as a storage driver. */
  get name(): string {
    return basename(this.address, ".sock");
  }

  /** Starts a plugin and calls `Init`. */
  static async start(driver = "overlay2", ...options: string[]): Promise<TestPlugin> {
    const plugin = await TestPlugin.bare(driver, ...options);
    await plugin.init();
    return plugin;
  }

  #spawn(): Process {
    const driver = ["--driver", this.driver, ...this.options];
    return new Process([...PROGRAM, ...driver, "serve", "docker", "--address", this.address]);
  }

  async #listens(): Promise<void> {
    await this.process.said(/msg=serving/);
    await this.process.until(() => isThere(this.address), "the socket");
  }

  /** Kills it, and starts it again. */
  async kill(): Promise<void> {
    this.kills.push(Date.now());
    await this.process.end("SIGKILL");
    await this.restart();
  }

  /** Starts it again, after its end. */
  async restart(): Promise<void> {
    this.#saidBefore += this.process.log;
    this.process = this.#spawn();
    await this.#listens();
  }

  /**
   * The layers that are mounted for the daemon, according to the calls in the log: those with more
   * Gets than Puts. After a restart the plugin's counts begin with the existing mounts.
   */
  counted(): Set<string> {
    const counts = new Map<string, number>();
    const calls = /method=GraphDriver\.(Init|Get|Put|Remove) id=(\S+) status=200/g;
    for (const [, method, id] of this.log().matchAll(calls)) {
      if (method === "Init") counts.forEach((_, mounted) => counts.set(mounted, 1));
      else if (method === "Get") counts.set(id, (counts.get(id) ?? 0) + 1);
      else if (method === "Remove" || counts.get(id) === 1) counts.delete(id);
      else if (counts.has(id)) counts.set(id, counts.get(id)! - 1);
    }
    return new Set(counts.keys());
  }

  /** The logs of all its processes. */
  log(): string {
    return this.#saidBefore + this.process.log;
  }

  /** Waits until its log is read, with all that it said before. */
  async isHeard(): Promise<void> {
    const mark = `mark-${crypto.randomUUID()}`;
    await this.call("Exists", { ID: mark });
    await this.process.said(new RegExp(mark));
  }

  /** The directory of the driver's store. */
  get store(): string {
    return join(this.home, this.driver);
  }

  /**
   * The mount points of layers, without that of the store itself, which is mounted while it is
   * served.
   */
  mounts(): string[] {
    return mountPoints(this.home).filter((point) => point !== this.store);
  }

  /** Sends a request, with any body. */
  fetch(path: string, body: BodyInit, init: RequestInit = {}): Promise<Response> {
    const url = `http://plugin.moby.localhost/${path}`;
    return fetch(url, { method: "POST", body, ...init, client: this.#client } as RequestInit);
  }

  /** Calls by a method's name. */
  async try(method: string, fields: unknown = {}): Promise<Answer> {
    const answer = await this.fetch(`GraphDriver.${method}`, JSON.stringify(fields));
    return { status: answer.status, body: await answer.json() };
  }

  /** The same for a call that must succeed. */
  async call(method: string, fields: unknown = {}) {
    const { status, body } = await this.try(method, fields);
    const { Err = "", ...rest } = body;
    assertEquals([status, Err], [200, ""], `${method} ${JSON.stringify(fields)}`);
    return rest;
  }

  /** The error of a call that must fail. */
  async refused(method: string, fields: unknown = {}): Promise<string> {
    const { status, body } = await this.try(method, fields);
    assertEquals(status >= 400 && typeof body.Err === "string", true, JSON.stringify(body));
    return body.Err;
  }

  async init(fields: Record<string, unknown> = {}): Promise<void> {
    const none = { Opts: null, UIDMaps: null, GIDMaps: null };
    await this.call("Init", { Home: this.home, ...none, ...fields });
  }

  async applyDiff(id: string, tar: BodyInit, parent = ""): Promise<Answer> {
    const answer = await this.fetch(`GraphDriver.ApplyDiff?id=${id}&parent=${parent}`, tar);
    return { status: answer.status, body: await answer.json() };
  }

  /** A layer's tar. */
  async diff(id: string, parent = ""): Promise<Uint8Array<ArrayBuffer>> {
    const answer = await this.fetch("GraphDriver.Diff", JSON.stringify({ ID: id, Parent: parent }));
    assertEquals(answer.status, 200);
    return new Uint8Array(await answer.arrayBuffer());
  }

  /** Creates a layer from a tar. */
  async layer(id: string, tar: BodyInit, parent = ""): Promise<void> {
    await this.call("Create", { ID: id, Parent: parent });
    assertEquals((await this.applyDiff(id, tar, parent)).body.Err, "");
  }

  connect(): Promise<Deno.UnixConn> {
    return Deno.connect({ transport: "unix", path: this.address });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client.close();
    await this.process.end();
    this.directory[Symbol.dispose]();
  }
}

/** A tar of files by their names. */
export function tarOf(files: Readonly<Record<string, string>>): Uint8Array<ArrayBuffer> {
  using dir = tempDir("tar-");
  for (const [name, content] of Object.entries(files)) {
    Deno.writeTextFileSync(join(dir.path, name), content);
  }
  const { success, stdout } = new Deno.Command("tar", {
    args: ["-C", dir.path, "-cf", "-", ...Object.keys(files)],
  }).outputSync();
  assertEquals(success, true);
  return stdout;
}

/** The names in a tar. */
export async function namesOf(tar: Uint8Array<ArrayBuffer>): Promise<string[]> {
  const child = new Deno.Command("tar", { args: ["-t"], stdin: "piped", stdout: "piped" }).spawn();
  const writer = child.stdin.getWriter();
  const output = child.output();
  await writer.write(tar);
  await writer.close();
  return new TextDecoder().decode((await output).stdout).split("\n").filter(Boolean);
}
