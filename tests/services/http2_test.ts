/** HTTP/2 with broken and hostile clients: the errors that they get, while others are served. */
import { assert, assertEquals } from "@std/assert";
import { Connection } from "../../lib/services/http2/connection.ts";
import { Resets } from "../../lib/services/http2/limits.ts";
import type { Stream, StreamHandler } from "../../lib/services/http2/stream.ts";
import { lacksFileSystem, needs, tempDir } from "../support/cases.ts";
import {
  ACK,
  block,
  COMPRESSION_ERROR,
  CONTINUATION,
  DATA,
  END_HEADERS,
  END_STREAM,
  ENHANCE_YOUR_CALM,
  FLOW_CONTROL_ERROR,
  frame,
  FRAME_SIZE_ERROR,
  framed,
  GOAWAY,
  HEADERS,
  join,
  NO_ERROR,
  PADDED,
  PING,
  PREFACE,
  PRIORITY,
  PROTOCOL_ERROR,
  PUSH_PROMISE,
  RawClient,
  REFUSED_STREAM,
  requestFields,
  RST_STREAM,
  SETTINGS,
  STREAM_CLOSED,
  u32,
  WINDOW_UPDATE,
} from "./grpc_client.ts";
import { make, ofKey, readInfos } from "./snapshots_client.ts";
import { list } from "./snapshots_client.ts";
import { TestService, until } from "./service_support.ts";

const lacking = lacksFileSystem("overlay");
const STAT = "/containerd.services.snapshots.v1.Snapshots/Stat";
const NOT_FOUND = 5;

const headers = (stream: number, flags = END_HEADERS, path = STAT) =>
  frame(HEADERS, flags, stream, block(requestFields(path)));
const data = (stream: number, flags = END_STREAM) =>
  frame(DATA, flags, stream, framed(ofKey("missing")));

/** Checks that another client is served. */
async function checkServed(service: TestService): Promise<void> {
  using client = await service.connect();
  assertEquals((await client.call("Stat", ofKey("missing"))).status, NOT_FOUND);
}

/** Frames that end the connection, with the code in GOAWAY. */
const FATAL: Readonly<Record<string, readonly [code: number, ...frames: Uint8Array[]]>> = {
  "DATA of the connection": [PROTOCOL_ERROR, frame(DATA, 0, 0, [1])],
  "DATA of a stream that was not opened": [PROTOCOL_ERROR, frame(DATA, 0, 1, [1])],
  "DATA whose padding is longer than it": [
    PROTOCOL_ERROR,
    headers(1),
    frame(DATA, PADDED, 1, [5, 1, 2]),
  ],
  "DATA with the flag of padding and nothing else": [
    PROTOCOL_ERROR,
    headers(1),
    frame(DATA, PADDED, 1, []),
  ],
  "HEADERS of the connection": [PROTOCOL_ERROR, headers(0)],
  "HEADERS of an even stream": [PROTOCOL_ERROR, headers(2)],
  "HEADERS that are shorter than their priority": [
    FRAME_SIZE_ERROR,
    frame(HEADERS, END_HEADERS | 0x20, 1, [0, 0]),
  ],
  "HEADERS of a stream that has ended": [
    STREAM_CLOSED,
    frame(HEADERS, END_HEADERS | END_STREAM, 1, block(requestFields(STAT))),
    frame(HEADERS, END_HEADERS, 3, block(requestFields(STAT))),
    frame(HEADERS, END_HEADERS, 1, block(requestFields(STAT))),
  ],
  "a header block that is not HPACK": [COMPRESSION_ERROR, frame(HEADERS, END_HEADERS, 1, [0x80])],
  "another frame inside a header block": [PROTOCOL_ERROR, headers(1, 0), frame(PING, 0, 0, u32(0))],
  "CONTINUATION of no header block": [PROTOCOL_ERROR, frame(CONTINUATION, END_HEADERS, 1, [])],
  "CONTINUATION of another stream": [
    PROTOCOL_ERROR,
    headers(1, 0),
    frame(CONTINUATION, END_HEADERS, 3, []),
  ],
  "PRIORITY of the connection": [PROTOCOL_ERROR, frame(PRIORITY, 0, 0, [0, 0, 0, 0, 1])],
  "PRIORITY of four bytes": [FRAME_SIZE_ERROR, frame(PRIORITY, 0, 1, [0, 0, 0, 0])],
  "RST_STREAM of a stream that was not opened": [PROTOCOL_ERROR, frame(RST_STREAM, 0, 1, u32(8))],
  "RST_STREAM of three bytes": [FRAME_SIZE_ERROR, headers(1), frame(RST_STREAM, 0, 1, [0, 0, 8])],
  "SETTINGS of a stream": [PROTOCOL_ERROR, frame(SETTINGS, 0, 1, [])],
  "SETTINGS of five bytes": [FRAME_SIZE_ERROR, frame(SETTINGS, 0, 0, [0, 4, 0, 0, 0])],
  "SETTINGS that acknowledge with a payload": [
    FRAME_SIZE_ERROR,
    frame(SETTINGS, ACK, 0, [0, 4, 0, 0, 0, 0]),
  ],
  "a window of 2^31": [FLOW_CONTROL_ERROR, frame(SETTINGS, 0, 0, [0, 4, ...u32(2 ** 31)])],
  "frames of at most 16,383 bytes": [PROTOCOL_ERROR, frame(SETTINGS, 0, 0, [0, 5, ...u32(16383)])],
  "PUSH_PROMISE": [PROTOCOL_ERROR, frame(PUSH_PROMISE, END_HEADERS, 1, u32(2))],
  "PING of a stream": [PROTOCOL_ERROR, frame(PING, 0, 1, new Uint8Array(8))],
  "PING of seven bytes": [FRAME_SIZE_ERROR, frame(PING, 0, 0, new Uint8Array(7))],
  "GOAWAY of a stream": [PROTOCOL_ERROR, frame(GOAWAY, 0, 1, new Uint8Array(8))],
  "WINDOW_UPDATE of 0": [PROTOCOL_ERROR, frame(WINDOW_UPDATE, 0, 0, u32(0))],
  "WINDOW_UPDATE of three bytes": [FRAME_SIZE_ERROR, frame(WINDOW_UPDATE, 0, 0, [0, 0, 1])],
  "WINDOW_UPDATE beyond 2^31 - 1": [
    FLOW_CONTROL_ERROR,
    frame(WINDOW_UPDATE, 0, 0, u32(2 ** 31 - 1)),
  ],
  "WINDOW_UPDATE of a stream that was not opened": [
    PROTOCOL_ERROR,
    frame(WINDOW_UPDATE, 0, 5, u32(1)),
  ],
  // Only the header of a frame of 16,385 bytes: the server does not wait for the rest.
  "a frame that is too long": [FRAME_SIZE_ERROR, Uint8Array.of(0, 64, 1, 0, 0, 0, 0, 0, 1)],
};

needs(
  lacking,
  "http2: a client that breaks the protocol gets the reason and loses its connection",
  async (t) => {
    await using service = await TestService.start();
    for (const [what, [code, ...frames]] of Object.entries(FATAL)) {
      await t.step(what, async () => {
        using client = await RawClient.greet(service.address);
        await client.send(...frames);
        assertEquals(await client.goneWith(), code);
      });
    }
    await checkServed(service);
  },
);

/** Requests of which only the stream is refused, with the code in RST_STREAM. */
const REFUSED: Readonly<Record<string, readonly [code: number, ...frames: Uint8Array[]]>> = (() => {
  const request = (...fields: [string, string][]) =>
    frame(HEADERS, END_HEADERS | END_STREAM, 1, block(fields));
  const fields = requestFields(STAT);
  return {
    "no :path": [PROTOCOL_ERROR, request(...fields.filter(([name]) => name !== ":path"))],
    "an empty :path": [
      PROTOCOL_ERROR,
      request(...fields.map(([n, v]): [string, string] => [n, n === ":path" ? "" : v])),
    ],
    ":path twice": [PROTOCOL_ERROR, request([":path", STAT], ...fields)],
    "a field before :path": [PROTOCOL_ERROR, request(["te", "trailers"], ...fields)],
    "an unknown field with a colon": [PROTOCOL_ERROR, request([":status", "200"], ...fields)],
    "a name in upper case": [PROTOCOL_ERROR, request(...fields, ["Te", "trailers"])],
    "a name with a space": [PROTOCOL_ERROR, request(...fields, ["a b", "c"])],
    "an empty name": [PROTOCOL_ERROR, request(...fields, ["", "c"])],
    "a value with a newline": [PROTOCOL_ERROR, request(...fields, ["a", "b\nc"])],
    "a field of the connection": [PROTOCOL_ERROR, request(...fields, ["connection", "close"])],
    "te other than trailers": [PROTOCOL_ERROR, request(...fields, ["te", "gzip"])],
    "a body of another length": [
      PROTOCOL_ERROR,
      frame(HEADERS, END_HEADERS, 1, block([...fields, ["content-length", "3"]])),
      data(1),
    ],
    "trailers that do not end": [PROTOCOL_ERROR, headers(1), frame(HEADERS, END_HEADERS, 1, [])],
    "DATA behind the end": [
      STREAM_CLOSED,
      join(headers(1), data(1), data(1)),
    ],
    "WINDOW_UPDATE of 0 of a stream": [
      PROTOCOL_ERROR,
      headers(1),
      frame(WINDOW_UPDATE, 0, 1, u32(0)),
    ],
    "a window beyond 2^31 - 1": [
      FLOW_CONTROL_ERROR,
      headers(1),
      frame(WINDOW_UPDATE, 0, 1, u32(2 ** 31 - 1)),
    ],
  };
})();

needs(lacking, "http2: a malformed request resets only its stream", async (t) => {
  await using service = await TestService.start();
  for (const [what, [code, ...frames]] of Object.entries(REFUSED)) {
    await t.step(what, async () => {
      using client = await RawClient.greet(service.address);
      await client.send(...frames);
      const reset = await client.until(RST_STREAM);
      assertEquals([reset.stream, reset.payload[3]], [1, code]);
      await client.send(headers(3), data(3));
      let answer = await client.until(HEADERS);
      while (answer.stream !== 3) answer = await client.until(HEADERS);
      assertEquals(answer.flags, END_HEADERS | END_STREAM);
    });
  }
});

needs(lacking, "http2: frames are joined from any pieces", async () => {
  await using service = await TestService.start();
  using client = await RawClient.connect(service.address);
  const fields = block(requestFields(STAT));
  const bytes = join(
    PREFACE,
    frame(SETTINGS, 0, 0, []),
    // Padding, a priority, CONTINUATION, padded and empty DATA, a frame of an unknown type.
    frame(HEADERS, PADDED | 0x20, 1, [3, 0, 0, 0, 0, 9, ...fields.slice(0, 20), 0, 0, 0]),
    frame(CONTINUATION, 0, 1, fields.slice(20, 21)),
    frame(CONTINUATION, END_HEADERS, 1, fields.slice(21)),
    frame(77, 0, 1, [1, 2, 3]),
    frame(DATA, PADDED, 1, [2, ...framed(ofKey("missing")).slice(0, 3), 0, 0]),
    frame(DATA, 0, 1, []),
    frame(DATA, END_STREAM, 1, framed(ofKey("missing")).slice(3)),
  );
  for (const byte of bytes) await client.send(Uint8Array.of(byte));
  const answer = await client.until(HEADERS);
  assertEquals([answer.stream, answer.flags], [1, END_HEADERS | END_STREAM]);
  // A trailer ends a request as well.
  await client.send(headers(3), data(3, 0), frame(HEADERS, END_HEADERS | END_STREAM, 3, []));
  assertEquals((await client.until(HEADERS)).stream, 3);
});

needs(lacking, "http2: a client without HTTP/2 is disconnected", async () => {
  await using service = await TestService.start();
  const inputs = ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\0", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\x00"];
  for (const input of inputs) {
    using client = await RawClient.connect(service.address);
    await client.send(new TextEncoder().encode(input));
    assertEquals(await client.goneWith(), PROTOCOL_ERROR, input);
  }
  using client = await RawClient.connect(service.address);
  await client.send(PREFACE, headers(1));
  assertEquals(await client.goneWith(), PROTOCOL_ERROR, "no settings");
  await checkServed(service);
});

needs(lacking, "http2: a client that leaves at any byte harms no other", async () => {
  await using service = await TestService.start();
  const whole = join(PREFACE, frame(SETTINGS, 0, 0, []), headers(1), data(1));
  for (let length = 0; length <= whole.length; length += 3) {
    using client = await RawClient.connect(service.address);
    await client.send(whole.subarray(0, length));
  }
  await checkServed(service);
  assert(!/level=(error)|at .*:\d+:\d+/.test(service.process.log), service.process.log);
});

needs(
  lacking,
  "http2: random frames end in GOAWAY or are answered, and the service continues",
  async () => {
    await using service = await TestService.start();
    // A linear congruential generator (Numerical Recipes): the same sequence each time.
    let state = 1;
    const random = (limit: number) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return state % limit;
    };
    for (let round = 0; round < 200; round++) {
      using client = await RawClient.greet(service.address);
      for (let i = 0; i < 20; i++) {
        const payload = Array.from({ length: random(40) }, () => random(256));
        await client.send(frame(random(11), random(256), random(6), payload)).catch(() => {});
      }
    }
    await checkServed(service);
  },
);

/** Floods of acts that are allowed a few times. */
const FLOODS: Readonly<Record<string, (i: number) => Uint8Array>> = {
  "PING": () => frame(PING, 0, 0, new Uint8Array(8)),
  "SETTINGS": () => frame(SETTINGS, 0, 0, []),
  "empty DATA": (i) => i === 0 ? headers(1) : frame(DATA, 0, 1, []),
  "PRIORITY": () => frame(PRIORITY, 0, 3, [0, 0, 0, 0, 1]),
  "WINDOW_UPDATE": () => frame(WINDOW_UPDATE, 0, 0, u32(1)),
  "frames of unknown types": () => frame(200, 0, 0, []),
  "streams that are opened and reset": (i) =>
    join(headers(2 * i + 1), frame(RST_STREAM, 0, 2 * i + 1, u32(8))),
  "requests that are made and reset": (i) =>
    join(headers(2 * i + 1), data(2 * i + 1), frame(RST_STREAM, 0, 2 * i + 1, u32(8))),
  "streams beyond the limit": (i) => headers(2 * i + 1),
  "malformed requests": (i) => frame(HEADERS, END_HEADERS | END_STREAM, 2 * i + 1, []),
  "windows of 0 by the stream": (i) =>
    join(headers(2 * i + 1), frame(WINDOW_UPDATE, 0, 2 * i + 1, u32(0))),
};

needs(lacking, "http2: a flood of acts that are allowed once ends the connection", async (t) => {
  await using service = await TestService.start("--log-level", "warn");
  for (const [what, act] of Object.entries(FLOODS)) {
    await t.step(what, async () => {
      using client = await RawClient.greet(service.address);
      const gone = client.goneWith();
      let i = 0;
      try {
        for (; i < 100_000; i++) await client.send(act(i));
      } catch {
        // The server has closed the connection.
      }
      assertEquals(await gone, ENHANCE_YOUR_CALM);
      assert(i < 60_000, `it ended after ${i}`);
    });
  }
  await checkServed(service);
});

needs(lacking, "http2: header blocks have limits", async () => {
  await using service = await TestService.start();
  {
    // An entry of the dynamic table is used many times: a short block with a list that is too long.
    // The request is refused.
    using client = await RawClient.greet(service.address);
    const fields = block([...requestFields(STAT), ["x", "y".repeat(3900)]]);
    // The last field is added to the table (RFC 7541, 6.2.1), and is then entry 62 (6.1).
    fields[fields.length - 3900 - 6] = 0x40;
    await client.send(frame(HEADERS, END_HEADERS, 1, [...fields, ...Array(20).fill(0x80 | 62)]));
    const { payload } = await client.until(HEADERS);
    assert(new TextDecoder("latin1").decode(payload).includes("431"));
    // The table has stayed the same as the client's.
    const request = [...block(requestFields(STAT)), 0x80 | 62];
    await client.send(frame(HEADERS, END_HEADERS, 3, request), data(3));
    assertEquals((await client.until(HEADERS)).stream, 3);
  }
  {
    using client = await RawClient.greet(service.address);
    await client.send(headers(1, 0));
    for (let i = 0; i < 4; i++) await client.send(frame(CONTINUATION, 0, 1, new Uint8Array(16384)));
    assertEquals(await client.goneWith(), ENHANCE_YOUR_CALM, "too long a block");
  }
  {
    using client = await RawClient.greet(service.address);
    const fields = block(requestFields(STAT));
    await client.send(frame(HEADERS, 0, 1, fields));
    for (let i = 0; i < 7; i++) await client.send(frame(CONTINUATION, 0, 1, []));
    await client.send(frame(CONTINUATION, END_HEADERS, 1, []), data(1));
    assertEquals((await client.until(HEADERS)).stream, 1, "eight frames of a block are allowed");
    await client.send(headers(3, 0));
    for (let i = 0; i < 9; i++) await client.send(frame(CONTINUATION, 0, 3, []));
    assertEquals(await client.goneWith(), ENHANCE_YOUR_CALM, "nine are too many");
  }
});

needs(lacking, "http2: at most 100 streams are open at a time", async () => {
  await using service = await TestService.start();
  using client = await RawClient.greet(service.address);
  for (let i = 0; i < 101; i++) await client.send(headers(2 * i + 1));
  const reset = await client.until(RST_STREAM);
  assertEquals([reset.stream, reset.payload[3]], [201, REFUSED_STREAM]);
  await client.send(data(1));
  assertEquals((await client.until(HEADERS)).stream, 1);
});

needs(lacking, "http2: ten thousand streams end their connection, and no other", async () => {
  await using service = await TestService.start("--log-level", "warn");
  using other = await service.connect();
  using client = await RawClient.greet(service.address);
  const gone = client.goneWith();
  let opened = 0;
  try {
    for (; opened < 10_000; opened++) await client.send(headers(2 * opened + 1));
  } catch {
    // The server has closed the connection.
  }
  assertEquals(await gone, ENHANCE_YOUR_CALM);
  assert(opened >= 1000, `it ended after ${opened}`);
  assertEquals((await other.call("Stat", ofKey("missing"))).status, NOT_FOUND);
});

Deno.test("http2: a thousand streams may end early in ten seconds", () => {
  const resets = new Resets();
  for (let i = 0; i < 1000; i++) assert(resets.count(i));
  assert(!resets.count(1000));
  // Each is forgotten after ten seconds. The one that exceeded the limit counts as well.
  for (let i = 1; i < 1000; i++) assert(resets.count(10_000 + i), `${i}`);
  assert(!resets.count(10_999));
  assert(resets.count(30_000));
});

needs(lacking, "http2: the client's windows grow by the bytes that it sends", async () => {
  await using service = await TestService.start();
  using client = await RawClient.greet(service.address);
  // Bodies of 400 KB: one is more than a stream's window of 256 KiB, and several are more than the
  // connection's of 1 MiB.
  const body = framed(list("name==" + "x".repeat(400_000)));
  let connection = 65_535, sent = 0;
  for (let id = 1; id < 12; id += 2) {
    let stream = 256 << 10;
    await client.send(headers(id, END_HEADERS, `${STAT.slice(0, -4)}List`));
    for (let at = 0; at < body.length;) {
      const length = Math.min(16384, body.length - at, connection, stream);
      if (length > 0) {
        const isLast = at + length === body.length;
        const part = body.slice(at, at += length);
        await client.send(frame(DATA, isLast ? END_STREAM : 0, id, part));
        connection -= length;
        stream -= length;
        sent += length;
        continue;
      }
      const { stream: of, payload } = await client.until(WINDOW_UPDATE);
      const increment = new DataView(payload.buffer).getUint32(0);
      if (of === 0) connection += increment;
      else if (of === id) stream += increment;
    }
  }
  assert(sent > 2_000_000);
  await client.send(frame(PING, 0, 0, new Uint8Array(8)));
  await client.until(PING);
});

needs(lacking, "http2: answers wait for the client's windows", async () => {
  await using service = await TestService.start();
  {
    using client = await service.connect();
    for (let i = 0; i < 250; i++) {
      const { status } = await client.call(
        "Prepare",
        make(`key${i}`, "", { label: "x".repeat(400) }),
      );
      assertEquals(status, 0);
    }
  }
  using client = await RawClient.greet(service.address, [0, 4, ...u32(10)]);
  const path = "/containerd.services.snapshots.v1.Snapshots/List";
  await client.send(headers(1, END_HEADERS, path), frame(DATA, END_STREAM, 1, framed(list())));
  await client.until(HEADERS);
  let body: number[] = [], steps = 0;
  // The stream's window has ten bytes at first and then grows; the connection's has 65,535.
  for (let next = await client.next();; next = await client.next()) {
    assert(next !== undefined);
    if (next.type === HEADERS) break;
    if (next.type !== DATA) continue;
    if (steps === 0) assertEquals(next.payload.length, 10);
    body = body.concat(...next.payload);
    steps++;
    const increment = Math.min(1 + body.length, 16384);
    await client.send(frame(WINDOW_UPDATE, 0, 1, u32(increment)));
    await client.send(frame(WINDOW_UPDATE, 0, 0, u32(increment)));
  }
  const names: string[] = [];
  for (let at = 0; at < body.length;) {
    const length = new DataView(Uint8Array.from(body).buffer).getUint32(at + 1);
    names.push(
      ...readInfos(Uint8Array.from(body.slice(at + 5, at + 5 + length))).map(({ name }) => name),
    );
    at += 5 + length;
  }
  assertEquals(names.length, 250);
  // A window that is reduced becomes negative, and the next answer waits.
  await client.send(frame(SETTINGS, 0, 0, [0, 4, ...u32(0)]));
  await client.send(headers(3, END_HEADERS, path), frame(DATA, END_STREAM, 3, framed(list())));
  await client.until(HEADERS);
  await client.send(frame(PING, 0, 0, new Uint8Array(8)));
  assertEquals((await client.until(PING)).flags, ACK, "the ping overtakes the answer");
  await client.send(frame(SETTINGS, 0, 0, [0, 4, ...u32(5)]));
  assertEquals((await client.until(DATA)).payload.length, 5);
});

needs(
  lacking,
  "http2: a client that does not read is no longer read from, and delays no other",
  async () => {
    await using service = await TestService.start();
    const client = await RawClient.greet(service.address);
    let sent = 0, stuck = false;
    const flood = (async () => {
      for (; sent < 1_000_000 && !stuck; sent++) {
        // It is answered at once, so only answers can accumulate.
        await client.send(headers(2 * sent + 1, END_HEADERS | END_STREAM, "/no/Method"));
      }
    })().catch(() => {});
    let before = -1, still = 0;
    await until(() => {
      still = sent === before ? still + 1 : 0;
      before = sent;
      return still > 100;
    }, "the client to be stuck");
    stuck = true;
    await checkServed(service);
    const memory = Number(
      /VmRSS:\s+(\d+)/.exec(Deno.readTextFileSync(`/proc/${service.process.pid}/status`))![1],
    );
    assert(memory < 400_000, `${memory} KiB for ${sent} requests`);
    for (let i = 0; i < sent - 1; i++) await client.until(HEADERS);
    client[Symbol.dispose]();
    await flood;
  },
);

needs(lacking, "http2: a silent client is disconnected after ten seconds", async () => {
  await using service = await TestService.start();
  const started = performance.now();
  using silent = await RawClient.connect(service.address);
  using halfway = await RawClient.greet(service.address);
  await halfway.send(headers(1, 0));
  while (await silent.next() !== undefined);
  while (await halfway.next() !== undefined);
  const seconds = (performance.now() - started) / 1000;
  // A request may take a minute.
  assert(seconds > 8 && seconds < 55, `${seconds}`);
  await checkServed(service);
});

/** A connection in this process and its client, which reads only if the case does. */
async function pair(onStream: (stream: Stream) => StreamHandler, settings: readonly number[]) {
  using directory = tempDir("http2-");
  const path = `${directory.path}/s`;
  using listener = Deno.listen({ transport: "unix", path });
  const client = await RawClient.greet(path, settings);
  const connection = new Connection(await listener.accept(), onStream);
  return { client, connection, ended: connection.run() };
}

/** A handler that answers with a body at once, and reports when the client has left. */
function answering(bytes: number) {
  const gone = Promise.withResolvers<void>(), asked = Promise.withResolvers<void>();
  const onStream = (stream: Stream): StreamHandler => ({
    data() {},
    end() {
      stream.respond([[":status", "200"]]);
      stream.send(new Uint8Array(bytes));
      stream.finish([]);
      asked.resolve();
    },
    reset: () => gone.resolve(),
  });
  return { onStream, asked: asked.promise, gone: gone.promise };
}

Deno.test("http2: a client that reads no answer is disconnected after a minute", async () => {
  const window = (size: number) => [0, 4, ...u32(size)];
  // First the socket is full, then the window.
  for (const [bytes, settings] of [[10 << 20, window(2 ** 31 - 1)], [10, window(0)]] as const) {
    const { onStream, asked, gone } = answering(bytes);
    // The client reads nothing for less than from here on, however long this process is held up.
    const began = performance.now();
    const { client, connection, ended } = await pair(onStream, settings);
    using _client = client;
    await client.send(frame(WINDOW_UPDATE, 0, 0, u32(2 ** 31 - 1 - 65535)));
    await client.send(headers(1, END_HEADERS | END_STREAM));
    await asked;
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert(!connection.isIdle || bytes === 10 << 20);
    connection.checkTime(began + 59_000);
    assertEquals(connection.isClosed, false);
    connection.checkTime(performance.now() + 61_000);
    assertEquals(connection.isClosed, true);
    await Promise.all([ended, bytes === 10 ? gone : undefined]);
  }
});

needs(lacking, "http2: a ping is answered with its own content", async () => {
  await using service = await TestService.start();
  using client = await RawClient.greet(service.address);
  await client.send(frame(PING, 0, 0, [1, 2, 3, 4, 5, 6, 7, 8]));
  const { flags, payload } = await client.until(PING);
  assertEquals([flags, [...payload]], [ACK, [1, 2, 3, 4, 5, 6, 7, 8]]);
  // A ping that is an answer is not answered.
  await client.send(frame(PING, ACK, 0, new Uint8Array(8)), frame(PING, 0, 0, new Uint8Array(8)));
  await client.until(PING);
  await client.send(headers(1), data(1));
  assertEquals((await client.next())?.type, HEADERS);
});

needs(
  lacking,
  "http2: an answer that comes before the request's end tells the client to stop",
  async () => {
    await using service = await TestService.start();
    using client = await RawClient.greet(service.address);
    await client.send(headers(1, END_HEADERS, "/no/Method"), data(1, 0));
    const answer = await client.until(HEADERS);
    assertEquals(answer.flags, END_HEADERS | END_STREAM);
    const reset = await client.until(RST_STREAM);
    assertEquals([reset.stream, reset.payload[3]], [1, NO_ERROR]);
    // Frames that the client has sent before are not an error.
    await client.send(data(1), headers(3), data(3));
    assertEquals((await client.until(HEADERS)).stream, 3);
  },
);
