/**
 * Tars through the plugin, and clients that stop, disconnect, are slow, or send invalid requests.
 */
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { join } from "@std/path";
import { IS_LONG, lacksFileSystem, needs } from "../support/cases.ts";
import { randomOf } from "../support/random.ts";
import { until } from "./service_support.ts";
import { tarOf, TestPlugin } from "./docker_support.ts";

const lacking = lacksFileSystem("overlay");
const MIB = 1 << 20;
const encoder = new TextEncoder();

/** A tar with one file of the given size in MiB, in pieces of 1 MiB. */
function* largeTar(size: number): Generator<Uint8Array<ArrayBuffer>> {
  const small = tarOf({ large: "" });
  const header = small.slice(0, 512);
  header.set(encoder.encode((size * MIB).toString(8).padStart(11, "0")), 124);
  header.fill(32, 148, 156);
  const sum = header.reduce((sum, byte) => sum + byte, 0);
  header.set(encoder.encode(`${sum.toString(8).padStart(6, "0")}\0 `), 148);
  yield header;
  const piece = new Uint8Array(MIB).fill(7);
  for (let i = 0; i < size; i++) yield piece;
  yield new Uint8Array(1024);
}

/** The processes' resident memory in MiB. */
function memory({ process: { pid } }: TestPlugin): number {
  const [, kib] = /^VmRSS:\s+(\d+)/m.exec(Deno.readTextFileSync(`/proc/${pid}/status`))!;
  return Number(kib) / 1024;
}

/** The number of its descriptors of pipes, except that of its log. */
function pipes({ process: { pid } }: TestPlugin): number {
  const link = (name: string) => {
    try {
      return Deno.readLinkSync(`/proc/${pid}/fd/${name}`);
    } catch {
      return ""; // It was closed meanwhile.
    }
  };
  const log = link("2");
  const links = [...Deno.readDirSync(`/proc/${pid}/fd`)].map(({ name }) => link(name));
  return links.filter((link) => link.startsWith("pipe:") && link !== log).length;
}

/** Sends a request's head and a part of its body. */
async function begin(plugin: TestPlugin, path: string, length: number, body: Uint8Array) {
  const connection = await plugin.connect();
  const head = `POST /${path} HTTP/1.1\r\nHost: p\r\nContent-Length: ${length}\r\n\r\n`;
  await write(connection, encoder.encode(head));
  await write(connection, body);
  return connection;
}

async function write(connection: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let rest = bytes; rest.length > 0;) rest = rest.subarray(await connection.write(rest));
}

/** Sends bytes that are not a request of the protocol; returns the status line. */
async function statusOf(plugin: TestPlugin, text: string): Promise<string> {
  using connection = await plugin.connect();
  await write(connection, encoder.encode(text));
  return await readStatus(connection);
}

async function readStatus(connection: Deno.Conn): Promise<string> {
  const buffer = new Uint8Array(4096);
  const length = await connection.read(buffer) ?? 0;
  return new TextDecoder().decode(buffer.subarray(0, length)).split("\r\n")[0];
}

needs(lacking, "docker plugin: tars are streamed in and out with little memory", async () => {
  await using plugin = await TestPlugin.start();
  const SIZE = 200;
  await plugin.call("Create", { ID: "large" });
  const before = memory(plugin), pipesBefore = pipes(plugin);
  const applied = await plugin.applyDiff("large", ReadableStream.from(largeTar(SIZE)));
  assertEquals(applied.body, { Size: SIZE * MIB, Err: "" });
  const answer = await plugin.fetch("GraphDriver.Diff", JSON.stringify({ ID: "large" }));
  const reader = answer.body!.getReader();
  const first = (await reader.read()).value!.length;
  // While its client does not read, others are answered, and no more of the tar is made.
  for (let i = 0; i < 20; i++) await plugin.call("Exists", { ID: "large" });
  assert(memory(plugin) - before < 150, `${memory(plugin) - before} MiB`);
  let length = first;
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    length += next.value.length;
  }
  assert(length > SIZE * MIB && length < (SIZE + 1) * MIB, `${length}`);
  await until(() => pipes(plugin) === pipesBefore, "the pipes to be closed");
});

needs(lacking, "docker plugin: a client that disconnects ends its transfers", async () => {
  await using plugin = await TestPlugin.start();
  await plugin.layer("whole", ReadableStream.from(largeTar(8)));
  const before = pipes(plugin);
  for (let i = 0; i < 3; i++) {
    // Out of a layer: only the head is read.
    const asked = encoder.encode(JSON.stringify({ ID: "whole" }));
    using connection = await begin(plugin, "GraphDriver.Diff", asked.length, asked);
    await connection.read(new Uint8Array(100));
  }
  await until(() => pipes(plugin) <= before, "the pipes to be closed");
  await plugin.call("Remove", { ID: "whole" });

  await plugin.call("Create", { ID: "part" });
  const [header] = largeTar(8);
  (await begin(plugin, "GraphDriver.ApplyDiff?id=part", 8 * MIB, header)).close();
  await plugin.process.said(/ApplyDiff id=part status=[45]/);
  await until(() => pipes(plugin) <= before, "the pipes to be closed");
  assertMatch(await plugin.refused("Get", { ID: "part" }), /is incomplete/);
  assertMatch(await plugin.refused("Create", { ID: "child", Parent: "part" }), /is incomplete/);
  await plugin.call("Remove", { ID: "part" });
});

needs(lacking, "docker plugin: Remove ends the transfers of its layer", async () => {
  await using plugin = await TestPlugin.start();
  await plugin.call("Create", { ID: "part" });
  const [header, data] = largeTar(8);
  using applying = await begin(plugin, "GraphDriver.ApplyDiff?id=part", 16 * MIB, header);
  await write(applying, data);
  const isBegun = () => [...Deno.readDirSync(join(plugin.store, "part/diff"))].length > 0;
  await until(isBegun, "the apply to begin");
  await plugin.call("Remove", { ID: "part" });
  assertEquals(await plugin.call("Exists", { ID: "part" }), { Exists: false });

  // More than fits into the buffers on the way.
  await plugin.layer("read", ReadableStream.from(largeTar(64)));
  const answer = await plugin.fetch("GraphDriver.Diff", JSON.stringify({ ID: "read" }));
  await plugin.call("Remove", { ID: "read" });
  await assertRejects(() => answer.arrayBuffer());
});

needs(lacking, "docker plugin: one ApplyDiff for one Create", async () => {
  await using plugin = await TestPlugin.start();
  const tar = tarOf({ a: "a".repeat(2000), b: "b" });
  await plugin.layer("whole", tar);
  const again = await plugin.applyDiff("whole", tar);
  assertMatch(again.body.Err, /was applied to before/);

  // The rest of an interrupted tar may begin at a header, and then is a valid tar.
  await plugin.call("Create", { ID: "part" });
  const second = 512 + 2048;
  (await begin(plugin, "GraphDriver.ApplyDiff?id=part", tar.length, tar.subarray(0, second)))
    .close();
  await plugin.process.said(/ApplyDiff id=part status=[45]/);
  const isRefused = async (id: string) => {
    const { status, body } = await plugin.applyDiff(id, tar.slice(second));
    assertEquals(status, 412);
    assertMatch(body.Err, /was applied to before|is incomplete/);
  };
  await isRefused("part");
  // The first part of a tar may be lost with the process, before a lane gets any of it.
  await plugin.call("Create", { ID: "lost" });
  await plugin.process.end("SIGKILL");
  await plugin.restart();
  for (const id of ["part", "lost"]) {
    await isRefused(id);
    await plugin.call("Remove", { ID: id });
    await plugin.layer(id, tar);
  }
});

needs(
  lacking,
  "docker plugin: a tar that is cut at a random byte is never half used",
  async () => {
    await using plugin = await TestPlugin.start();
    const tar = tarOf({ a: "a".repeat(3000), b: "b".repeat(700), c: "c" });
    const end = tar.findLastIndex((byte) => byte !== 0) + 1;
    const random = randomOf(16);
    const rounds = IS_LONG ? 300 : 60;
    for (let round = 0; round < rounds; round++) {
      // Some cuts are inside a header.
      const id = `cut${round}`, at = round < 4 ? round * 100 : random(end);
      let isWhole = false;
      await plugin.call("Create", { ID: id });
      if (round % 2 === 0) {
        const path = `GraphDriver.ApplyDiff?id=${id}&parent=`;
        (await begin(plugin, path, tar.length, tar.subarray(0, at))).close();
        await plugin.process.said(new RegExp(`ApplyDiff id=${id} status=[45]`));
      } else {
        // The body ends properly, but the tar does not, unless it is cut after an entry.
        const { status } = await plugin.applyDiff(id, tar.slice(0, at));
        const ends = [512 + 3072, 512 + 3072 + 512 + 1024];
        isWhole = ends.includes(at);
        assertEquals(status === 200, isWhole, `${at}`);
      }
      const got = await plugin.try("Get", { ID: id });
      assertEquals(got.status === 200, isWhole, `${at} of round ${round}`);
      if (isWhole) await plugin.call("Put", { ID: id });
      await plugin.call("Remove", { ID: id });
    }
    assertEquals(await plugin.call("Exists", { ID: "cut0" }), { Exists: false });
  },
);

needs(
  lacking,
  "docker plugin: invalid requests are answered, and others are served",
  async () => {
    await using plugin = await TestPlugin.start();
    const cases: [string, string, number, RegExp][] = [
      ["GraphDriver.Get", "{", 400, /is not JSON/],
      ["GraphDriver.Get", "[]", 400, /is not an object/],
      ["GraphDriver.Get", "7", 400, /is not an object/],
      ["GraphDriver.Get", '{"ID":"\u0000"}', 400, /./],
      ["GraphDriver.Get", `{"ID":${"[".repeat(100_000)}}`, 400, /is not JSON/],
      ["GraphDriver.Get", "x".repeat(MIB + 1), 413, /longer than 1048576 bytes/],
      ["GraphDriver.Get", "x".repeat(4 * MIB), 413, /longer than 1048576 bytes/],
      ["GraphDriver.Nothing", "{}", 404, /there is no call/],
      ["constructor", "{}", 404, /there is no call/],
      ["", "{}", 404, /there is no call/],
      ["GraphDriver.ApplyDiff", "", 400, /ID is missing/],
      ["GraphDriver.ApplyDiff?id=none", "no tar", 404, /does not exist/],
    ];
    for (const [path, body, status, error] of cases) {
      const answer = await plugin.fetch(path, body);
      assertMatch((await answer.json()).Err, error, path);
      assertEquals(answer.status, status, path);
    }
    for (const method of ["GET", "PUT", "DELETE"]) {
      const answer = await plugin.fetch("GraphDriver.Get", "", {
        method,
        body: undefined,
      });
      assertEquals([answer.status, answer.headers.get("allow")], [405, "POST"]);
      await answer.body?.cancel();
    }
    assertMatch(await statusOf(plugin, "no HTTP at all\r\n\r\n"), /^HTTP\/1\.1 400 |^$/);
    assertMatch(
      await statusOf(plugin, `POST /${"x".repeat(10_000_000)}`).catch(() => ""),
      /4\d\d|^$/,
    );
    assertEquals(await plugin.call("Exists", { ID: "a" }), { Exists: false });
  },
);

needs(lacking, "docker plugin: a body of JSON of 1 GiB is refused, and not kept", async () => {
  await using plugin = await TestPlugin.start();
  const before = memory(plugin);
  const piece = new Uint8Array(MIB).fill(32);
  for (const head of [`Content-Length: ${1 << 30}`, "Transfer-Encoding: chunked"]) {
    using connection = await plugin.connect();
    await write(
      connection,
      encoder.encode(`POST /GraphDriver.Get HTTP/1.1\r\nHost: p\r\n${head}\r\n\r\n`),
    );
    // It is answered within the first pieces. Later pieces are not kept.
    const answered = readStatus(connection);
    try {
      for (let sent = 0; sent < 1024; sent++) {
        if (head.startsWith("T")) await write(connection, encoder.encode("100000\r\n"));
        await write(connection, piece);
        if (head.startsWith("T")) await write(connection, encoder.encode("\r\n"));
        if (sent === 8) assertMatch(await answered, /^HTTP\/1\.1 413 /);
      }
    } catch (error) {
      // It may be disconnected.
      assert(
        error instanceof Deno.errors.BrokenPipe || error instanceof Deno.errors.ConnectionReset,
      );
    }
    assertMatch(await answered, /^HTTP\/1\.1 413 /);
  }
  assert(memory(plugin) - before < 100, `${memory(plugin) - before} MiB`);
  assertEquals(await plugin.call("Exists", { ID: "a" }), { Exists: false });
});

needs(lacking, "docker plugin: slow clients delay neither others nor the end", async () => {
  await using plugin = await TestPlugin.start();
  const slow = [];
  for (let i = 0; i < 50; i++) {
    slow.push(await begin(plugin, "GraphDriver.Get", 100, encoder.encode("{")));
    const connection = await plugin.connect();
    await write(connection, encoder.encode("POST /Graph"));
    slow.push(connection);
  }
  await plugin.layer("a", tarOf({ a: "a" }));
  for (const connection of slow) connection.close();
  assertEquals(await plugin.process.end(), 0);
});
