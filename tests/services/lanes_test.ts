/** Lanes: calls that are slow, that wait for each other, or that are lost with their thread. */
import { assert, assertEquals } from "@std/assert";
import type { OpenStore } from "../../lib/base/opened.ts";
import { GrpcError } from "../../lib/services/grpc/status.ts";
import { type Job, Lanes } from "../../lib/services/lanes/lanes.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import { laneHere } from "../../lib/services/lanes/here.ts";
import { serveLane } from "../../lib/services/lanes/lane.ts";
import { Lane } from "../../lib/services/lanes/thread.ts";
import type { FromLane } from "../../lib/services/lanes/protocol.ts";
import { join } from "@std/path";
import { lacksFileSystem, must, needs, unmountBelow } from "../support/cases.ts";
import { isThere } from "../support/files.ts";
import type { GrpcClient, Reply } from "./grpc_client.ts";
import { cleanup, commit, list, make, ofKey, readMounts, update } from "./snapshots_client.ts";
import { holdLayers, TestService, until } from "./service_support.ts";

const lacking = lacksFileSystem("overlay");

/** gRPC's code (grpc/doc/statuscodes.md). */
const UNAVAILABLE = 14;

/** Prepares snapshots, so that Mounts needs their layers; returns the ids of the layers. */
async function prepare(client: GrpcClient, ...keys: string[]): Promise<string[]> {
  const layers: string[] = [];
  for (const key of keys) {
    const { status, messages } = await client.call("Prepare", make(key));
    assertEquals(status, 0);
    layers.push(readMounts(messages[0])[0].source.split("/").at(-2)!);
  }
  await forget(client, ...keys);
  return layers;
}

/** Makes the service forget its known answers. */
async function forget(client: GrpcClient, ...keys: string[]): Promise<void> {
  for (const key of keys) assertEquals((await client.call("Update", update(key, {}))).status, 0);
}

/** Whether a call is still unanswered a moment later. */
async function isPending(reply: Promise<unknown>): Promise<boolean> {
  const late = new Promise((resolve) => setTimeout(resolve, 100, "late"));
  return await Promise.race([reply, late]) === "late";
}

needs(
  lacking,
  "lanes: slow calls delay no others, and calls with one key take one lane",
  async () => {
    await using service = await TestService.start();
    using client = await service.connect();
    const [a, b, c, d] = await prepare(client, "a", "b", "c", "d");
    const mounts = (key: string) => client.call("Mounts", ofKey(key));
    const slow: Promise<Reply>[] = [];
    {
      using _held = holdLayers(service, a, b);
      slow.push(...Array.from({ length: 20 }, () => mounts("a")), mounts("b"));
      assertEquals((await mounts("d")).status, 0, "beside slow calls on two keys");
      await prepare(client, "e");
      await forget(client, "d");
      const held: Promise<Reply>[] = [];
      {
        // The same number as there are lanes. Meanwhile each lane could have been started.
        using _more = holdLayers(service, c, d);
        held.push(mounts("c"), mounts("d"), mounts("e"));
        await new Promise((resolve) => setTimeout(resolve, 500));
        assertEquals(
          (await client.call("Stat", ofKey("a"))).status,
          0,
          "one lane is for quick calls",
        );
        assertEquals((await client.call("List", list())).status, 0);
        assert(await isPending(held[2]), "three slow calls have the others");
      }
      for (const reply of held) assertEquals((await reply).status, 0);
      assert(await isPending(slow[0]) && await isPending(slow[20]));
    }
    for (const reply of slow) assertEquals((await reply).status, 0);
  },
);

needs(
  lacking,
  "lanes: while Cleanup and deletions wait, every other call is answered",
  async () => {
    await using service = await TestService.start();
    using client = await service.connect();
    const call = async (method: string, request: readonly number[]) => {
      const { status, message } = await client.call(method, request);
      assertEquals([status, message], [0, ""], method);
    };
    const [layer] = await prepare(client, "stuck");
    // A layer that is a mount point cannot be deleted, so it still exists and can be locked.
    const place = join(service.home, "snapshots", layer);
    must("mount", "--bind", place, place);
    await call("Remove", ofKey("stuck"));
    const cleanups: Promise<Reply>[] = [];
    {
      using _held = holdLayers(service, layer);
      unmountBelow(place);
      cleanups.push(...Array.from({ length: 5 }, () => client.call("Cleanup", cleanup())));
      for (let round = 0; round < 3; round++) {
        await call("Prepare", make("a"));
        await call("Mounts", ofKey("a"));
        await call("Usage", ofKey("a"));
        await call("Update", update("a", { label: "1" }));
        await call("Commit", commit("b", "a"));
        await call("View", make("view", "b"));
        await call("Stat", ofKey("b"));
        await call("Usage", ofKey("b"));
        await call("List", list());
        await call("Remove", ofKey("view"));
        await call("Remove", ofKey("b"));
      }
      assert(await isPending(Promise.race(cleanups)));
    }
    for (const reply of cleanups) assertEquals((await reply).status, 0);
    assertEquals([...Deno.readDirSync(join(service.home, "snapshots"))], []);
  },
);

needs(lacking, "lanes: a call that waits for another with its key can be cancelled", async () => {
  await using service = await TestService.start();
  using client = await service.connect();
  const [a] = await prepare(client, "a");
  {
    using _held = holdLayers(service, a);
    {
      using other = await service.connect();
      void other.call("Remove", ofKey("a"));
      void other.call("Prepare", make("a"));
      // It is answered after those two have arrived.
      assertEquals((await other.call("Stat", ofKey("a"))).status, 0);
    }
    // The client has left: the call that runs is done, and the other never begins.
    await service.process.said(/method=Prepare key=a status=CANCELLED/);
  }
  assertEquals((await client.call("Mounts", ofKey("a"))).status, 5, "behind the removal");
  assertEquals(service.process.log.match(/status=CANCELLED/g)?.length, 2);
});

needs(lacking, "lanes: at the end running calls are answered, and new ones refused", async () => {
  const service = await TestService.start();
  using client = await service.connect();
  const [a] = await prepare(client, "a");
  let slow: Promise<Reply>;
  {
    using _held = holdLayers(service, a);
    slow = client.call("Mounts", ofKey("a"));
    await client.call("Stat", ofKey("a"));
    service.process.signal("SIGTERM");
    await service.process.said(/ending/);
    await until(() => !isThere(service.address), "the socket to be removed");
    const { status, message } = await client.call("Stat", ofKey("a"));
    assertEquals(status, UNAVAILABLE, message);
    assert(await service.connect().then(() => false, () => true), "the socket is gone");
    assert(await isPending(slow));
  }
  assertEquals((await slow).status, 0);
  assertEquals(await client.gone, 0, "NO_ERROR");
  assertEquals(await service.process.ended(), 0);
  service.directory[Symbol.dispose]();
});

needs(
  lacking,
  "lanes: a second signal ends the service at once, and the store is intact",
  async () => {
    await using service = await TestService.start();
    using client = await service.connect();
    const [a] = await prepare(client, "a");
    {
      using _held = holdLayers(service, a);
      void client.call("Remove", ofKey("a"));
      await client.call("Stat", ofKey("a"));
      service.process.signal("SIGINT");
      await service.process.said(/ending/);
      assert(await service.process.end("SIGINT") !== 0);
    }
    await service.restart();
    using again = await service.connect();
    assertEquals((await again.call("Mounts", ofKey("a"))).status, 0);
  },
);

/** Lanes in this process, so that threads can be lost. */
async function lostLanes(most: number): Promise<{ lanes: Lanes<string>; warnings: string[] }> {
  const warnings: string[] = [];
  const lanes = await Lanes.open<string>({
    start: () => new Worker(new URL("./lost_lane_worker.ts", import.meta.url), { type: "module" }),
    store: { root: "/", driver: "d", options: [], uidmap: [], gidmap: [] },
    most: { quick: most, slow: most },
    warn: (message) => warnings.push(message),
  });
  return { lanes, warnings };
}

/** The answer to a call. */
async function ask(lanes: Lanes<string>, call: string, job: Partial<Job<string>> = {}) {
  let answer = "";
  const emit = (message: Uint8Array) => answer += new TextDecoder().decode(message);
  await lanes.run({ call, emit, ...job }).done;
  return answer;
}

Deno.test("lanes: a call whose thread ends is INTERNAL, and the next has another thread", async () => {
  const { lanes, warnings } = await lostLanes(2), key = "key";
  for (let round = 0; round < 3; round++) {
    assertEquals(await ask(lanes, "one", { key }), "one");
    const dying = ask(lanes, "die", { key }), behind = ask(lanes, "two", { key });
    const error = await dying.catch((error) => error);
    assert(error instanceof GrpcError && error.status === "INTERNAL", `${error}`);
    assertEquals(await behind, "two", "the key is free again");
  }
  assertEquals(warnings.length, 3);
  assert(
    warnings.every((warning) => /a lane ended: .*as it was told/.test(warning)),
    `${warnings}`,
  );
  // These threads are not blocked, so the case need not wait for them.
  await lanes.close();
});

Deno.test("lanes: an idle lane is closed after a minute, except the last", async () => {
  const { lanes } = await lostLanes(3);
  // No lane can be idle for longer, however long this process is kept from going on.
  const began = performance.now();
  lanes.run({ call: "hang", emit: () => {} }).done.catch(() => {});
  assertEquals(await ask(lanes, "one"), "one", "a second lane is started beside the first");
  assertEquals(lanes.size, 2);
  lanes.trim(began + 59_000);
  assertEquals(lanes.size, 2);
  lanes.trim(performance.now() + 61_000);
  assertEquals(lanes.size, 1);
  lanes.trim(performance.now() + 61_000);
  assertEquals(lanes.size, 1);
  await lanes.close();
});

Deno.test("lanes: the messages of an answer come with its end, those of a long one before", async () => {
  const { port1: lane, port2: service } = new MessageChannel();
  const heard: string[] = [];
  const ends = Array.from({ length: 5 }, () => Promise.withResolvers<void>());
  let ended = 0;
  const close = () => {};
  const store = { home: "/h", name: "n", status: () => [], close, [Symbol.dispose]: close };
  service.onmessage = ({ data }: MessageEvent<FromLane>) => {
    const messages = "messages" in data ? data.messages ?? [] : [];
    heard.push([data.type, ...messages.map(([first]) => first)].join(" "));
    if (data.type !== "messages") ends[ended++].resolve();
  };
  serveLane<number, OpenStore>(lane, {
    open: () => Promise.resolve(store),
    perform: (_store, call, emit) => {
      // The second of three messages completes what is sent at once.
      const size = call === 3 ? 40 << 10 : 1;
      for (let n = 1; n <= Math.abs(call); n++) emit(new Uint8Array(size).fill(n));
      if (call < 0) throw new Error("the call fails");
    },
  });
  service.postMessage({ type: "open", store: {} });
  for (const [at, call] of [2, 0, 3, -1].entries()) {
    await ends[at].promise;
    service.postMessage({ type: "call", call });
  }
  await ends[4].promise;
  const long = ["messages 1 2", "done 3"], failed = ["messages 1", "error"];
  assertEquals(heard, ["opened", "done 1 2", "done", ...long, ...failed]);
  service.close();
  lane.close();
});

Deno.test("lanes: on the calling thread; a slow call's messages do not wait for its end", async () => {
  const heard: string[] = [], done: string[] = [];
  // Only the call takes time, so that a pause of this process is not taken for a slow call.
  let time = 0;
  const { now } = performance;
  performance.now = () => time;
  using _clock = { [Symbol.dispose]: () => void (performance.now = now) };
  const store = {
    home: "/h",
    name: "n",
    status: () => [],
    close: () => void done.push("closed"),
    [Symbol.dispose]: () => {},
  };
  const port = laneHere((scope) =>
    serveLane<number, OpenStore>(scope, {
      open: () => Promise.resolve(store),
      perform: (_store, milliseconds, emit) => {
        for (let n = 1; n <= 3; n++) {
          emit(new Uint8Array([n]));
          time += milliseconds;
          done.push(`${n}`);
        }
        if (milliseconds === 0) throw new VeneerError("in use", "the call fails");
      },
    })
  );
  const lane = new Lane<number>(port, { warn() {}, leftover() {}, lost() {} });
  await lane.open({ root: "/", driver: "n", options: [], uidmap: [], gidmap: [] });
  assertEquals([lane.home, lane.driver], ["/h", "n"]);
  const call = lane.run(120, ([n]) => heard.push(`${n} after ${done.at(-1)}`));
  await Promise.resolve();
  assertEquals(done, [], "what the caller does next comes before the call");
  await call;
  assertEquals(heard, ["1 after 1", "2 after 1", "3 after 2"]);
  const error = await lane.run(0, () => {}).catch((error) => error);
  assert(error instanceof VeneerError && error.code === "in use", `${error}`);
  await lane.close();
  assertEquals(done.at(-1), "closed");
});
