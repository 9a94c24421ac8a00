/**
 * gRPC as clients may use it: encodings, timeouts, large messages, and the messages of hostile
 * clients.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { Budget } from "../../lib/services/grpc/budget.ts";
import { RequestReader } from "../../lib/services/grpc/message.ts";
import { GrpcError } from "../../lib/services/grpc/status.ts";
import { lacksFileSystem, needs } from "../support/cases.ts";
import {
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  framed,
  type GrpcClient,
  HEADERS,
  RawClient,
  requestFields,
  u32,
} from "./grpc_client.ts";
import { block } from "./grpc_client.ts";
import { HpackDecoder } from "../../lib/services/http2/hpack.ts";
import { field, list, make, ofKey, readInfos, readMounts, update } from "./snapshots_client.ts";
import { holdLayers, TestService } from "./service_support.ts";

const lacking = lacksFileSystem("overlay");

const OK = 0, INVALID_ARGUMENT = 3, DEADLINE_EXCEEDED = 4, NOT_FOUND = 5, RESOURCE_EXHAUSTED = 8;
const UNIMPLEMENTED = 12, INTERNAL = 13;

const SERVICE = "/containerd.services.snapshots.v1.Snapshots";
const path = (method: string) => `${SERVICE}/${method}`;

/** Sends a request with additional fields. */
function request(
  client: GrpcClient,
  method: string,
  message: readonly number[],
  ...fields: [string, string][]
) {
  return client.request(path(method), framed(message), [
    ...requestFields(path(method)),
    ...fields,
  ]);
}

needs(lacking, "grpc: the answer to a compressed request has the supported encoding", async () => {
  await using service = await TestService.start();
  using client = await service.connect();
  const body = framed(ofKey("missing"));
  const flagged = await client.request(path("Stat"), [1, ...body.slice(1)]);
  const named = await request(client, "Stat", ofKey("missing"), ["grpc-encoding", "gzip"]);
  for (const { status, headers, message } of [flagged, named]) {
    assertEquals([status, headers.get("grpc-accept-encoding")], [UNIMPLEMENTED, "identity"]);
    assertMatch(message, /compressed/);
  }
  const plain = await request(client, "Stat", ofKey("missing"), ["grpc-encoding", "identity"]);
  assertEquals(plain.status, NOT_FOUND);
});

needs(lacking, "grpc: a call ends when the client's time is over", async () => {
  await using service = await TestService.start();
  using client = await service.connect();
  const { messages } = await client.call("Prepare", make("a"));
  const layer = readMounts(messages[0])[0].source.split("/").at(-2)!;
  // The service answers without the layer if it knows the answer.
  assertEquals((await client.call("Update", update("a", {}))).status, OK);
  const timed = async (method: string, message: readonly number[], timeout: string) =>
    (await request(client, method, message, ["grpc-timeout", timeout])).status;
  {
    using _held = holdLayers(service, layer);
    const began = performance.now();
    const statuses = await Promise.all([
      timed("Mounts", ofKey("a"), "100m"),
      // It waits for the other call with the same key, and never begins.
      timed("Remove", ofKey("a"), "100000u"),
    ]);
    assertEquals(statuses, [DEADLINE_EXCEEDED, DEADLINE_EXCEEDED]);
    const time = performance.now() - began;
    // Without the client's time they would wait for the layer for two minutes.
    assert(time >= 99 && time < 60_000, `${time} ms`);
  }
  assertEquals((await client.call("Mounts", ofKey("a"))).status, OK);
  assertEquals(await timed("Stat", ofKey("a"), "1n"), DEADLINE_EXCEEDED);
  for (const timeout of ["100S", "2M", "99999999H"]) {
    assertEquals(await timed("Stat", ofKey("a"), timeout), OK, timeout);
  }
  for (const malformed of ["", "5", "S", "100000000S", "5x", "-5S", "1.5S"]) {
    assertEquals(await timed("Stat", ofKey("a"), malformed), INTERNAL, malformed);
  }
});

/** Sends a body without regard to windows: this server accepts everything. */
async function sendBody(client: RawClient, stream: number, body: Uint8Array): Promise<void> {
  for (let at = 0; at < body.length; at += 16384) {
    const end = at + 16384;
    const flags = end >= body.length ? END_STREAM : 0;
    await client.send(frame(DATA, flags, stream, body.subarray(at, end)));
  }
}

/** The fields of an answer that has no body. */
async function trailers(client: RawClient): Promise<Map<string, string>> {
  const { payload } = await client.until(HEADERS);
  return new Map(new HpackDecoder().decode(payload, 1 << 16).fields);
}

/** A request of one field. */
function large(fieldLength: number): Uint8Array {
  const prefix = [...field(1, "veneer")];
  const head = [2 << 3 | 2];
  for (let rest = fieldLength;; rest = Math.floor(rest / 128)) {
    head.push(rest % 128 | (rest >= 128 ? 128 : 0));
    if (rest < 128) break;
  }
  const length = prefix.length + head.length + fieldLength;
  const body = new Uint8Array(5 + length).fill(0x61);
  body.set([0, ...u32(length), ...prefix, ...head]);
  return body;
}

needs(lacking, "grpc: a message has at most 16 MiB", async () => {
  await using service = await TestService.start("--log-level", "warn");
  using other = await service.connect();
  using client = await RawClient.greet(service.address);
  const begin = (stream: number) =>
    client.send(frame(HEADERS, END_HEADERS, stream, block(requestFields(path("Stat")))));
  await begin(1);
  await sendBody(client, 1, large(16_700_000));
  const long = await trailers(client);
  assertEquals(long.get("grpc-status"), `${INVALID_ARGUMENT}`, "it is read, and the key too long");
  assertMatch(long.get("grpc-message")!, /16700000 bytes, 4096 are allowed/);
  await begin(3);
  await sendBody(client, 3, large(17 << 20));
  assertEquals((await trailers(client)).get("grpc-status"), `${RESOURCE_EXHAUSTED}`);
  // Both connections continue.
  await begin(5);
  await sendBody(client, 5, large(3));
  assertEquals((await trailers(client)).get("grpc-status"), `${NOT_FOUND}`);
  assertEquals((await other.call("Stat", ofKey("missing"))).status, NOT_FOUND);
});

needs(lacking, "grpc: keys of any bytes are stored unchanged or refused", async () => {
  await using service = await TestService.start();
  using client = await service.connect();
  const keys = [
    "/",
    "..",
    "a/../b",
    " ",
    "\n\t\u001b[31m",
    "\u202e",
    "👾",
    "%00",
    "-x",
    "'\"`$(id)",
  ];
  for (const key of keys) assertEquals((await client.call("Prepare", make(key))).status, OK, key);
  const { messages } = await client.call("List", list());
  assertEquals(messages.flatMap(readInfos).map(({ name }) => name).sort(), [...keys].sort());
  for (const key of keys) assertEquals((await client.call("Remove", ofKey(key))).status, OK, key);
  const odd: number[][] = [[0], [0x61, 0, 0x62], [0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], []];
  for (const bytes of odd) {
    const reply = await client.call("Prepare", [...field(1, "veneer"), ...field(2, bytes)]);
    assertEquals(reply.status, INVALID_ARGUMENT, `${bytes}`);
  }
  // deno-lint-ignore no-control-regex
  assert(!/[\x00-\x09\x0b-\x1f\x7f-\x9f]/.test(service.process.log), "nor is the log harmed");
});

/** The most memory that a process has had, in MiB. */
function mostMemory(pid: number): number {
  const [, kib] = /VmHWM:\s+(\d+)/.exec(Deno.readTextFileSync(`/proc/${pid}/status`))!;
  return Number(kib) / 1024;
}

needs(lacking, "grpc: hostile clients cost bounded memory", async () => {
  await using service = await TestService.start("--log-level", "error");
  using honest = await service.connect();
  const prepared = Array.from(
    { length: 100 },
    (_, i) => make(`key ${i}`, "", { l: "x".repeat(4000) }),
  );
  await Promise.all(prepared.map((message) => honest.call("Prepare", message)));
  const clients: RawClient[] = [];
  const begin = (method: string, stream: number) =>
    frame(HEADERS, END_HEADERS, stream, block(requestFields(path(method))));
  // Four clients begin 100 requests of 16 MB each and send 2 MiB of each; four ask for 100 lists of
  // 400 KB and read nothing; two send fields of two bytes by the million.
  const begun = large(16_000_000).subarray(0, 2 << 20);
  const ask = framed(list()), empty = new Uint8Array(5 + (4 << 20));
  for (let i = 0; i < empty.length - 5; i += 2) empty[5 + i] = 0x12;
  empty.set([0, ...u32(4 << 20)]);
  const acts: ((client: RawClient, stream: number) => Promise<void>)[] = [
    async (client, stream) => {
      await client.send(begin("Stat", stream));
      await sendBody(client, stream, begun);
    },
    (client, stream) => client.send(begin("List", stream), frame(DATA, END_STREAM, stream, ask)),
    async (client, stream) => {
      await client.send(begin("List", stream));
      await sendBody(client, stream, empty);
    },
  ];
  const sending = Array.from({ length: 10 }, async (_, i) => {
    const client = await RawClient.greet(service.address, [0, 4, ...u32(2 ** 31 - 1)]);
    clients.push(client);
    const act = acts[i < 4 ? 0 : i < 8 ? 1 : 2];
    const count = i < 8 ? 100 : 5;
    for (let n = 0; n < count; n++) await act(client, 2 * n + 1);
  });
  // Bodies that the server no longer reads are not sent to their end.
  void Promise.allSettled(sending);
  for (let i = 0; i < 50; i++) {
    assertEquals((await honest.call("Stat", ofKey("key 1"))).status, OK);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const most = mostMemory(service.process.pid);
  for (const client of clients) client[Symbol.dispose]();
  assert(most < 600, `the service had ${most} MiB`);
  assertEquals((await honest.call("Stat", ofKey("key 1"))).status, OK);
});

Deno.test("grpc: a request takes at most twice its received bytes, and returns them", () => {
  const budget = new Budget(100_000), share = new Budget(50_000, budget);
  const announced = Uint8Array.from([0, ...u32(70_000)]);
  {
    using small = new RequestReader(share);
    small.push(Uint8Array.from([0, ...u32(3)]));
    // One byte at a time, like a hostile client.
    for (const byte of [1, 2, 3]) small.push(Uint8Array.of(byte));
    assertEquals([...small.message()], [1, 2, 3]);
    using long = new RequestReader(share);
    long.push(announced);
    assert(budget.take(100_000), "what is only announced takes nothing");
    budget.give(100_000);
    long.push(new Uint8Array(30_000));
    const error = thrown(() => long.push(new Uint8Array(40_000)));
    assertEquals(error?.status, "RESOURCE_EXHAUSTED");
    using other = new RequestReader(new Budget(60_000, budget));
    other.push(announced);
    other.push(new Uint8Array(20_000));
    // Requests that are as small as containerd's take nothing from the budget.
    using tiny = new RequestReader(new Budget(0, budget));
    tiny.push(Uint8Array.from([0, ...u32(10_000)]));
    tiny.push(new Uint8Array(10_000));
    assertEquals(tiny.message().length, 10_000);
  }
  assert(share.take(50_000) && budget.take(50_000), "all is given back");
});

function thrown(action: () => void): GrpcError | undefined {
  try {
    action();
  } catch (error) {
    if (error instanceof GrpcError) return error;
  }
  return undefined;
}
