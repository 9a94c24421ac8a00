/** The calls of the snapshots service, made by a gRPC client. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path";
import { lacksFileSystem, needs } from "../support/cases.ts";
import { framed, type GrpcClient, type Reply, requestFields, u32 } from "./grpc_client.ts";
import {
  commit,
  field,
  list,
  make,
  ofKey,
  readInfos,
  readMounts,
  update,
} from "./snapshots_client.ts";
import { TestService } from "./service_support.ts";

const lacking = lacksFileSystem("overlay");

/** gRPC's codes (grpc/doc/statuscodes.md). */
const OK = 0, INVALID_ARGUMENT = 3, NOT_FOUND = 5, ALREADY_EXISTS = 6, RESOURCE_EXHAUSTED = 8;
const FAILED_PRECONDITION = 9, UNIMPLEMENTED = 12, INTERNAL = 13;

/** Kinds of snapshots (snapshots.proto). */
const VIEW = 1, ACTIVE = 2, COMMITTED = 3;

const SERVICE = "/containerd.services.snapshots.v1.Snapshots";

/** A call that must succeed; returns its message, if there is one. */
async function must(client: GrpcClient, method: string, request: readonly number[]) {
  const reply = await client.call(method, request);
  assertEquals([reply.status, reply.message], [OK, ""], method);
  return reply.messages[0];
}

/** The code and the message of a call that must fail without a body. */
function failure({ status, message, messages, headers }: Reply): [number | undefined, string] {
  assertEquals([messages.length, headers.get(":status")], [0, "200"]);
  return [status, message];
}

async function infos(client: GrpcClient, ...filters: string[]) {
  const { status, messages } = await client.call("List", list(...filters));
  assertEquals(status, OK);
  return messages.flatMap(readInfos);
}

needs(
  lacking,
  "calls: a list contains all earlier changes, even if a list was answered before",
  async () => {
    await using service = await TestService.start();
    using client = await service.connect();
    const told = async () => (await infos(client)).map(({ name, labels }) => [name, labels.l]);
    const steps: readonly (readonly [string, readonly number[], readonly unknown[]])[] = [
      ["Prepare", make("a", "", { l: "1" }), [["a", "1"]]],
      ["Update", update("a", { l: "2" }), [["a", "2"]]],
      ["Commit", commit("b", "a", { l: "3" }), [["b", "3"]]],
      ["View", make("c", "b"), [["b", "3"], ["c", undefined]]],
      ["Remove", ofKey("c"), [["b", "3"]]],
      ["Remove", ofKey("b"), []],
    ];
    for (const [method, request, expected] of steps) {
      await must(client, method, request);
      for (let i = 0; i < 2; i++) assertEquals(await told(), expected, method);
    }
  },
);

needs(lacking, "calls: a snapshot from Prepare to Remove", async () => {
  await using service = await TestService.start();
  using client = await service.connect();
  const before = Date.now();
  const layer = (n: string) => join(service.home, "snapshots", n, "fs");

  const [bind] = readMounts(await must(client, "Prepare", make("default/1/a b", "", { l: "1" })));
  assertEquals([bind.type, bind.target, bind.options], ["bind", "", ["rw", "rbind"]]);
  Deno.writeTextFileSync(join(bind.source, "file"), "content");
  assertEquals(
    await must(client, "Commit", commit("base", "default/1/a b", { l: "2" })),
    new Uint8Array(),
  );

  const [overlay] = readMounts(await must(client, "Prepare", make("active", "base")));
  assertEquals([overlay.type, overlay.source], ["overlay", "overlay"]);
  const option = (name: string) =>
    overlay.options.find((option) => option.startsWith(`${name}=`))?.slice(name.length + 1);
  assertEquals(option("lowerdir"), bind.source);
  assertEquals(option("upperdir"), layer(option("upperdir")!.split("/").at(-2)!));
  assertEquals(await must(client, "Mounts", ofKey("active")).then(readMounts), [overlay]);

  const [view] = readMounts(await must(client, "View", make("view", "base", { v: "3" })));
  assertEquals([view.type, view.source, view.options], ["bind", bind.source, ["ro", "rbind"]]);

  const all = await infos(client);
  assertEquals(
    all.map(({ name, parent, kind, labels }) => ({ name, parent, kind, labels })),
    [
      { name: "active", parent: "base", kind: ACTIVE, labels: {} },
      { name: "base", parent: "", kind: COMMITTED, labels: { l: "2" } },
      { name: "view", parent: "base", kind: VIEW, labels: { v: "3" } },
    ],
  );
  for (const { created, updated } of all) {
    assert(created >= before && created <= Date.now() && updated >= created);
  }
  assertEquals(readInfos(await must(client, "Stat", ofKey("base"))), [all[1]]);
  assertEquals(await infos(client, "kind==active", "labels.v==3"), [all[0], all[2]]);
  assertEquals(await infos(client, "name==nothing"), []);

  for (const key of ["view", "active", "base"]) await must(client, "Remove", ofKey(key));
  assertEquals(await infos(client), []);
});

needs(
  lacking,
  "calls: errors have the codes that containerd expects, and name their subject",
  async () => {
    await using service = await TestService.start();
    using client = await service.connect();
    await must(client, "Prepare", make("active"));
    await must(client, "Prepare", make("other"));
    await must(client, "Commit", commit("base", "other"));
    await must(client, "View", make("view", "base"));

    const cases: [number, string, readonly number[], RegExp][] = [
      [NOT_FOUND, "Stat", ofKey("missing"), /^snapshot "missing" does not exist/],
      [NOT_FOUND, "Mounts", ofKey("missing"), /"missing"/],
      [NOT_FOUND, "Remove", ofKey("missing"), /"missing"/],
      [NOT_FOUND, "Commit", commit("name", "missing"), /"missing"/],
      [NOT_FOUND, "Prepare", make("new", "missing"), /^parent "missing" does not exist/],
      [ALREADY_EXISTS, "Prepare", make("active"), /"active" exists/],
      [ALREADY_EXISTS, "View", make("base", "base"), /"base" exists/],
      [ALREADY_EXISTS, "Commit", commit("base", "active"), /"base" exists/],
      [INVALID_ARGUMENT, "Prepare", make("new", "active"), /"active" is not committed/],
      [INVALID_ARGUMENT, "Prepare", make(""), /empty/],
      [INVALID_ARGUMENT, "Prepare", make("k".repeat(5000)), /5000 bytes, 4096 are allowed/],
      [INVALID_ARGUMENT, "Prepare", make("new", "", { l: "x".repeat(5000) }), /4096 are allowed/],
      [INVALID_ARGUMENT, "List", list("kind=="), /./],
      [INVALID_ARGUMENT, "Stat", [0x12, 5, 1], /not a valid message/],
      [INVALID_ARGUMENT, "Stat", [...field(1, "veneer"), ...field(2, [0xff])], /not UTF-8/],
      [INVALID_ARGUMENT, "Stat", field(2, "active"), /snapshotter "": this service is "veneer"/],
      [INVALID_ARGUMENT, "Cleanup", field(1, "other"), /snapshotter "other": .* under that name/],
      [FAILED_PRECONDITION, "Mounts", ofKey("base"), /"base" is committed/],
      [FAILED_PRECONDITION, "Commit", commit("name", "view"), /a view/],
      [FAILED_PRECONDITION, "Remove", ofKey("base"), /has children: "view"/],
      [FAILED_PRECONDITION, "Commit", commit("name", "active", {}, "view"), /not committed/],
    ];
    for (const [code, method, request, pattern] of cases) {
      const [status, message] = failure(await client.call(method, request));
      assertEquals(status, code, `${method}: ${message}`);
      assertMatch(message, pattern);
      assert(!/\n|at .*:\d+:\d+/.test(message), message);
    }
    assertEquals((await infos(client)).map(({ name }) => name), ["active", "base", "view"]);
  },
);

needs(lacking, "calls: unknown services and methods are UNIMPLEMENTED", async () => {
  await using service = await TestService.start();
  using client = await service.connect();
  const path = async (path: string) => failure(await client.request(path, framed([])));
  for (const method of ["Nonsense", "stat", "__proto__"]) {
    assertEquals(
      await path(`${SERVICE}/${method}`),
      [UNIMPLEMENTED, `unknown method ${method} for service ${SERVICE.slice(1)}`],
    );
  }
  assertEquals(await path("/grpc.health.v1.Health/Check"), [
    UNIMPLEMENTED,
    "unknown service grpc.health.v1.Health",
  ]);
  for (const odd of ["/", "//", "*", `${SERVICE}/Stat/`, `${SERVICE}/Stat?x`]) {
    assertEquals((await path(odd))[0], UNIMPLEMENTED, odd);
  }
});

needs(lacking, "calls: a request that is not gRPC, or not one message, is refused", async () => {
  await using service = await TestService.start();
  using client = await service.connect();
  const stat = `${SERVICE}/Stat`, message = framed(ofKey("missing"));
  const fields = (name: string, value: string) =>
    requestFields(stat).map(([n, v]): [string, string] => [n, n === name ? value : v]);
  const http = async (name: string, value: string) =>
    (await client.request(stat, message, fields(name, value))).headers.get(":status");
  assertEquals(await http(":method", "GET"), "405");
  assertEquals(await http("content-type", "application/json"), "415");
  assertEquals(await http("content-type", "application/grpc-web"), "415");
  assertEquals(await http("content-type", "application/grpc+proto"), "200");

  const body = async (body: readonly number[]) => failure(await client.request(stat, body));
  assertEquals((await body([]))[0], INTERNAL, "no message");
  assertEquals((await body(message.slice(0, 3)))[0], INTERNAL, "half a prefix");
  assertEquals((await body(message.slice(0, -1)))[0], INTERNAL, "half a message");
  assertEquals((await body([...message, ...message]))[0], INTERNAL, "two messages");
  assertEquals((await body([1, ...message.slice(1)]))[0], UNIMPLEMENTED, "compressed");
  assertEquals((await body([0, ...u32(2 ** 31)]))[0], RESOURCE_EXHAUSTED, "2 GiB are announced");
  assertEquals((await body(new Array(1_200_000).fill(0)))[0], INTERNAL);
  assertEquals((await body(message))[0], NOT_FOUND, "and it goes on");
});

needs(
  lacking,
  "calls: a long list comes in blocks, in the state at its beginning",
  async () => {
    await using service = await TestService.start("--log-level", "warn");
    using client = await service.connect();
    const keys = Array.from({ length: 350 }, (_, i) => `key ${String(i).padStart(3, "0")}`);
    // There may be no more streams at a time.
    for (let at = 0; at < keys.length; at += 100) {
      const some = keys.slice(at, at + 100);
      await Promise.all(some.map((key) => must(client, "Prepare", make(key))));
    }
    const { messages } = await client.call("List", list());
    assertEquals(messages.map((message) => readInfos(message).length), [100, 100, 100, 50]);
    assertEquals(messages.flatMap(readInfos).map(({ name }) => name), keys);
  },
);

needs(lacking, "calls: a hundred at once", async () => {
  await using service = await TestService.start();
  using client = await service.connect();
  const numbers = Array.from({ length: 100 }, (_, i) => i);
  const each = (call: (i: number) => Promise<Reply>) => Promise.all(numbers.map(call));
  const statuses = (replies: Reply[]) => new Set(replies.map(({ status }) => status));

  assertEquals(
    statuses(await each((i) => client.call("Prepare", make(`key ${i}`)))),
    new Set([OK]),
  );
  const same = await each(() => client.call("Prepare", make("same")));
  assertEquals(same.filter(({ status }) => status === OK).length, 1);
  assertEquals(same.filter(({ status }) => status === ALREADY_EXISTS).length, 99);
  // They are answered in the order in which they were sent, because they have the same key.
  for (const i of numbers.slice(0, 50)) {
    const both = [
      client.call("Commit", commit(`name ${i}`, `key ${i}`)),
      client.call("Mounts", ofKey(`key ${i}`)),
    ];
    assertEquals((await Promise.all(both)).map(({ status }) => status), [OK, NOT_FOUND]);
  }
  assertEquals((await infos(client)).length, 101);
  assertEquals(
    statuses(await each((i) => client.call("Remove", ofKey(i < 50 ? `name ${i}` : `key ${i}`)))),
    new Set([OK]),
  );
});

needs(lacking, "calls: a cancelled call is dropped or done completely", async () => {
  await using service = await TestService.start();
  using client = await service.connect();
  for (let i = 0; i < 100; i++) {
    const path = `${SERVICE}/Prepare`;
    const { stream } = client.begin(requestFields(path), framed(make(`key ${i}`)));
    client.cancel(stream);
  }
  // A call with the same key waits for one that is under way.
  const made: string[] = [];
  for (let i = 0; i < 100; i++) {
    const { status } = await client.call("Mounts", ofKey(`key ${i}`));
    assert(status === OK || status === NOT_FOUND, `${status}`);
    if (status === OK) made.push(`key ${i}`);
  }
  assertEquals((await infos(client)).map(({ name }) => name).sort(), made.sort());
  for (const { name } of await infos(client)) await must(client, "Remove", ofKey(name));
  assertEquals(await infos(client), []);
});

needs(lacking, "calls: each call is one line of the log", async () => {
  await using service = await TestService.start("--json");
  {
    using client = await service.connect();
    await must(client, "Prepare", make("a\nb\u009b", ""));
    await client.call("Commit", commit("n", "missing"));
    await client.call("Nope", []);
    await infos(client, "name==x");
  }
  assertEquals(await service.process.end("SIGTERM"), 0);
  const lines = service.process.log.trim().split("\n");
  // deno-lint-ignore no-control-regex
  assert(lines.every((line) => !/[\x00-\x1f\x7f-\x9f]/.test(line)));
  const events = lines.map((line) => JSON.parse(line));
  for (const { time } of events) assert(Math.abs(Date.parse(time) - Date.now()) < 60_000);
  const calls = events.filter(({ msg }) => msg === "call");
  for (const { ms } of calls) assert(ms >= 0 && ms < 30_000);
  assertEquals(
    calls.map(({ time: _time, ms: _ms, ...rest }) => rest),
    [
      { level: "info", msg: "call", method: "Prepare", key: "a\nb\u009b", status: "OK" },
      {
        level: "info",
        msg: "call",
        method: "Commit",
        key: "missing",
        name: "n",
        status: "NOT_FOUND",
        error: 'snapshot "missing" does not exist',
      },
      {
        level: "info",
        msg: "call",
        method: `${SERVICE}/Nope`,
        status: "UNIMPLEMENTED",
        error: `unknown method Nope for service ${SERVICE.slice(1)}`,
      },
      { level: "info", msg: "call", method: "List", filters: "name==x", status: "OK" },
    ],
  );
});
