/**
 * The service under load from many clients, for long. Nothing is lost, nothing is left over, and
 * its memory does not grow.
 */
import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { IS_LONG, lacksFileSystem, needs } from "../support/cases.ts";
import type { GrpcClient } from "./grpc_client.ts";
import { cleanup, commit, list, make, ofKey, readInfos, readMounts } from "./snapshots_client.ts";
import { TestService } from "./service_support.ts";

const lacking = lacksFileSystem("overlay");

/**
 * The number of clients, each with its own connection, and of the snapshots that they make
 * together.
 */
const CLIENTS = 32, SNAPSHOTS = IS_LONG ? 10_000 : 640;

/**
 * The most memory that the second half may take in addition to the first, in MiB. The garbage that
 * V8 has not collected yet varies.
 */
const GROWTH = IS_LONG ? 48 : 96;

const OK = 0;

/** A repeatable sequence of numbers: a linear congruential generator (Numerical Recipes). */
function generator(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor(state / 2 ** 32 * limit);
  };
}

/** A client with its snapshots and their parents. */
class Actor {
  readonly active = new Map<string, string>();
  readonly committed = new Map<string, string>();
  made = 0;
  readonly #random: (limit: number) => number;

  constructor(readonly id: number, readonly client: GrpcClient) {
    this.#random = generator(id + 1);
  }

  async #must(method: string, request: readonly number[]) {
    const { status, message, messages } = await this.client.call(method, request);
    assertEquals([status, message], [OK, ""], `${method} of client ${this.id}`);
    return messages[0];
  }

  #one(of: ReadonlyMap<string, string>): string | undefined {
    return [...of.keys()][this.#random(of.size)];
  }

  /**
   * Does one random act: it mostly makes snapshots if it has few, and removes them if it has many.
   */
  async act(): Promise<void> {
    const some = this.active.size + this.committed.size;
    const choice = this.#random(20);
    if (some < 4 || choice < 8 && some < 20) return await this.#make();
    if (choice < 12 && this.active.size > 0) return await this.#commit();
    if (choice < 14) {
      const key = this.#one(this.active) ?? this.#one(this.committed)!;
      await this.#must(this.#random(2) === 0 ? "Stat" : "Usage", ofKey(key));
      return;
    }
    await this.#remove();
  }

  async #make(): Promise<void> {
    const key = `client ${this.id}/${this.made++}`;
    const parent = this.#random(3) === 0 ? "" : this.#one(this.committed) ?? "";
    const [mount] = readMounts(
      await this.#must("Prepare", make(key, parent, { n: `${this.made}` })),
    );
    const directory = mount.type === "bind"
      ? mount.source
      : mount.options.find((option) => option.startsWith("upperdir="))!.slice("upperdir=".length);
    for (let i = this.#random(4); i > 0; i--) {
      Deno.writeTextFileSync(join(directory, `${i}`), "x".repeat(5000));
    }
    this.active.set(key, parent);
  }

  async #commit(): Promise<void> {
    const key = this.#one(this.active)!;
    await this.#must("Commit", commit(`${key} committed`, key));
    this.committed.set(`${key} committed`, this.active.get(key)!);
    this.active.delete(key);
  }

  async #remove(): Promise<void> {
    const parents = new Set([...this.active.values(), ...this.committed.values()]);
    const removable = new Map(
      [...this.active, ...this.committed].filter(([name]) => !parents.has(name)),
    );
    const name = this.#one(removable);
    if (name === undefined) return;
    await this.#must("Remove", ofKey(name));
    this.active.delete(name);
    this.committed.delete(name);
  }

  async removeAll(): Promise<void> {
    while (this.active.size + this.committed.size > 0) await this.#remove();
  }
}

/** A process's memory in MiB. */
function memoryOf(pid: number): number {
  const [, kib] = /VmRSS:\s+(\d+)/.exec(Deno.readTextFileSync(`/proc/${pid}/status`))!;
  return Number(kib) / 1024;
}

needs(lacking, "soak: many clients prepare, commit and remove at once", async () => {
  await using service = await TestService.start("--log-level", "warn");
  const clients = await Promise.all(Array.from({ length: CLIENTS }, () => service.connect()));
  const actors = clients.map((client, i) => new Actor(i, client));
  const each = SNAPSHOTS / CLIENTS, began = performance.now();
  const runUntil = (made: number) =>
    Promise.all(actors.map(async (actor) => {
      while (actor.made < made) await actor.act();
    }));
  await runUntil(each / 2);
  const half = memoryOf(service.process.pid);
  await runUntil(each);
  const whole = memoryOf(service.process.pid);

  const { messages } = await clients[0].call("List", list());
  const found = new Map(messages.flatMap(readInfos).map(({ name, parent }) => [name, parent]));
  const expected = new Map(actors.flatMap(({ active, committed }) => [...active, ...committed]));
  assertEquals([...found].sort(), [...expected].sort(), "nothing is lost");

  await Promise.all(actors.map((actor) => actor.removeAll()));
  assertEquals((await clients[0].call("Cleanup", cleanup())).status, OK);
  assertEquals((await clients[0].call("List", list())).messages, []);
  for (const directory of ["snapshots", ".veneer/staging"]) {
    assertEquals([...Deno.readDirSync(join(service.home, directory))], [], "nothing is left");
  }
  if (IS_LONG) {
    const end = memoryOf(service.process.pid), seconds = (performance.now() - began) / 1000;
    const figures = [half, whole, end].map((mib) => `${mib.toFixed(0)} MiB`).join(", ");
    console.log(
      `${SNAPSHOTS} snapshots of ${CLIENTS} clients in ${
        seconds.toFixed(1)
      } s; memory at half, all, end: ${figures}`,
    );
  }
  assert(whole - half < GROWTH, `memory grew from ${half} to ${whole} MiB`);
  for (const client of clients) client[Symbol.dispose]();
  assertEquals(service.process.log.match(/level=(warn|error)/g), null, service.process.log);
});
