/**
 * The wire format of messages, by literal bytes.
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { VeneerError } from "../../lib/base/errors.ts";
import {
  readCommit,
  readKey,
  readList,
  readMake,
  readUpdate,
  writeList,
  writeMounts,
  writeSnapshot,
  writeUsage,
} from "../../lib/services/containerd/messages.ts";
import { MessageWriter, readFields, text } from "../../lib/services/protobuf.ts";
import type { SnapshotInfo } from "../../lib/snapshots/snapshotter.ts";

const bytes = (hex: string) => Uint8Array.fromHex(hex.replaceAll(/\s/g, ""));

/** Strings, a map's entry, an integer and times, as `protoc --encode` writes them. */
Deno.test("protobuf: a snapshot's info", () => {
  const info: SnapshotInfo = {
    kind: "committed",
    name: "ab",
    parent: "c",
    labels: new Map([["k", "v"]]),
    created: 1_700_000_000_000_001,
    updated: 1_700_000_000_000_000,
    layer: "",
  };
  const message = writeSnapshot(info);
  assertEquals(
    message.toHex(),
    "0a24" + // info
      "0a026162" + "120163" + "1803" + // name, parent, kind
      "2209" + "0880e2cfaa06" + "10e807" + // created_at: seconds, nanos
      "2a06" + "0880e2cfaa06" + // updated_at
      "3206" + "0a016b" + "120176", // labels
  );
});

Deno.test("protobuf: mounts", () => {
  const message = writeMounts([{ type: "bind", source: "/s", options: ["rw", ""] }]);
  assertEquals(message.toHex(), "0a10" + "0a0462696e64" + "12022f73" + "22027277" + "2200");
  assertEquals(writeMounts([]).length, 0);
});

Deno.test("protobuf: a list comes in messages of a hundred infos, an empty list in none", () => {
  const info = (name: string): SnapshotInfo => ({
    kind: "view",
    name,
    parent: "",
    labels: new Map(),
    created: 0,
    updated: 0,
    layer: "",
  });
  const infos = Array.from({ length: 201 }, (_, i) => info(`${i}`));
  const counts = (infos: SnapshotInfo[]) =>
    Array.from(writeList(infos), (message) => [...readFields(message)].length);
  assertEquals(counts(infos), [100, 100, 1]);
  assertEquals(counts(infos.slice(0, 100)), [100]);
  assertEquals(counts([]), []);
  // A message does not become longer than clients accept.
  const labels = new Map([["label", "x".repeat(600_000)]]);
  assertEquals(counts(infos.slice(0, 3).map((info) => ({ ...info, labels }))), [2, 1]);
});

Deno.test("protobuf: usage", () => {
  assertEquals(writeUsage({ bytes: 2 ** 33, inodes: 3 }).toHex(), "088080808020" + "1003");
  assertEquals(writeUsage({ bytes: 0, inodes: 0 }).toHex(), "");
});

/** The field `snapshotter`, "s". */
const S = "0a 01 73";

Deno.test("protobuf: requests with unknown fields and in any order", () => {
  const labels = "22 06 0a 01 6b 12 01 76 22 03 0a 01 6c"; // k: v, l: ""
  assertEquals(
    readMake("prepare")(bytes(`1a 01 70 12 01 6b ${labels} ${S}`), "s"),
    { method: "prepare", key: "k", parent: "p", labels: new Map([["k", "v"], ["l", ""]]) },
  );
  assertEquals(
    readCommit(bytes(`${S} 12 01 6e 1a 01 6b 2a 01 70`), "s"),
    { method: "commit", name: "n", key: "k", labels: new Map(), parent: "p" },
  );
  // A varint, 64 and 32 bits of fields 100 and above; the last of two keys counts.
  const unknown = "a006 ffffffffffffffffff01 a906 0102030405060708 b506 01020304";
  assertEquals(
    readKey("stat")(bytes(`${S} ${unknown} 12 01 61 12 01 62`), "s"),
    { method: "stat", key: "b" },
  );
  const filters = (hex: string) => readList(bytes(`${S} ${hex}`), "s");
  assertEquals(filters("12 01 61 12 00"), { method: "list", filters: ["a", ""] });
  assertEquals(filters(""), { method: "list", filters: [] });
  // Info: name, parent, labels k: v, in two parts; mask: two paths.
  const info = "12 06 0a 01 6b 12 01 70 12 08 32 06 0a 01 6b 12 01 76";
  assertEquals(
    readUpdate(bytes(`${S} ${info} 1a 0b 0a 06 6c 61 62 65 6c 73 0a 01 78`), "s"),
    { method: "update", key: "k", labels: new Map([["k", "v"]]), fields: ["labels", "x"] },
  );
});

Deno.test("protobuf: a request to a snapshotter of another name is refused", () => {
  for (const hex of ["0a 01 74", "", "0a 01 73 0a 01 74"]) {
    const error = assertThrows(() => readList(bytes(hex), "s"), VeneerError);
    assertEquals(error.code, "invalid argument");
    assert(error.message.includes('this service is "s"'), error.message);
  }
});

Deno.test("protobuf: a message of too many fields is refused", () => {
  const empty = bytes("12 00".repeat(10_001));
  const error = assertThrows(() => readList(empty, "s"), VeneerError);
  assertEquals(error.code, "limit exceeded");
});

Deno.test("protobuf: invalid messages are refused", () => {
  const malformed = {
    "a tag that is cut short": "80",
    "a length beyond the end": "12 05 61",
    "a length of 2^63": "12 80 80 80 80 80 80 80 80 80 01 61",
    "a varint of eleven bytes": "08 ff ff ff ff ff ff ff ff ff ff 01",
    "field 0": "02 00",
    "a group": "0b 0c",
    "the end of a group": "0c",
    "wire type 7": "0f",
    "64 bits that are cut short": "09 01",
    "a key that is not UTF-8": "12 02 c3 28",
    "a label that is not a message": "22 01 ff",
  };
  for (const [what, hex] of Object.entries(malformed)) {
    const error = assertThrows(
      () => readMake("view")(bytes(S + hex), "s"),
      VeneerError,
      undefined,
      what,
    );
    assertEquals(error.code, "invalid argument");
  }
  assertThrows(() => text(bytes("ff")), VeneerError);
});

Deno.test("protobuf: strings and messages of every length are read as they were written", () => {
  const lengths = [0, 1, 99, 100, 127, 128, 129, 16_383, 16_384, 2_100_000];
  const texts = lengths.flatMap((length) => ["x".repeat(length), "ä".repeat(length)]);
  for (const value of [...texts, "x".repeat(50) + "ä", "\u{1f47e}", "\0\x7f\x80"]) {
    const writer = new MessageWriter();
    writer.message(1, () => {
      writer.message(2, () => writer.stringAlways(3, value)).stringAlways(4, "behind");
    });
    const [outer] = readFields(writer.string(5, "end").finish());
    const [inner, behind] = readFields(outer.bytes);
    const [{ bytes }] = readFields(inner.bytes);
    assertEquals(text(bytes) === value, true, `${value.length}`);
    assertEquals(text(behind.bytes), "behind");
  }
});

Deno.test("protobuf: a message is complete at any end of the writer's memory", () => {
  for (let before = 900; before < 1030; before++) {
    for (const length of [0, 3, 99, 130]) {
      const writer = new MessageWriter().stringAlways(1, "x".repeat(before));
      writer.message(2, () => writer.stringAlways(3, "y".repeat(length)));
      const [first, second] = readFields(writer.finish());
      const [inner] = readFields(second.bytes);
      assertEquals([text(first.bytes).length, text(inner.bytes)], [before, "y".repeat(length)]);
    }
  }
});

Deno.test("protobuf: a writer grows with its message", () => {
  const long = "ä".repeat(5000);
  const message = new MessageWriter().string(1, long).integer(2, 2 ** 40 + 5).finish();
  const [field] = readFields(message);
  assertEquals(text(field.bytes), long);
  assertEquals(message.subarray(-7).toHex(), "10" + "858080808020");
});
