/**
 * The wire format of messages, by literal bytes.
 */
import { assertEquals, assertThrows } from "@std/assert";
import { VeneerError } from "../../lib/base/errors.ts";
import {
  readCommit,
  readKey,
  readList,
  readMake,
  writeList,
  writeMounts,
  writeStat,
} from "../../lib/services/containerd/messages.ts";
import { MessageWriter, readFields, text } from "../../lib/services/protobuf.ts";
import type { SnapshotInfo } from "../../lib/snapshots/snapshotter.ts";

const bytes = (hex: string) => Uint8Array.fromHex(hex.replaceAll(/\s/g, ""));

/** As `protoc --encode` writes them: strings, a map's entry, an integer, times. */
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
  const [message] = writeStat(info);
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
  const [message] = writeMounts([{ type: "bind", source: "/s", options: ["rw", ""] }]);
  assertEquals(message.toHex(), "0a10" + "0a0462696e64" + "12022f73" + "22027277" + "2200");
  assertEquals(writeMounts([])[0].length, 0);
});

Deno.test("protobuf: a list comes in messages of a hundred, an empty one in none", () => {
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
  assertEquals(writeList(infos).map((message) => [...readFields(message)].length), [100, 100, 1]);
  assertEquals(writeList(infos.slice(0, 100)).length, 1);
  assertEquals(writeList([]), []);
});

Deno.test("protobuf: requests, with fields that are not known and in any order", () => {
  const labels = "22 06 0a 01 6b 12 01 76 22 03 0a 01 6c"; // k: v, l: ""
  assertEquals(
    readMake("prepare")(bytes(`1a 01 70 12 01 6b ${labels} 0a 01 73`)),
    { method: "prepare", key: "k", parent: "p", labels: new Map([["k", "v"], ["l", ""]]) },
  );
  assertEquals(
    readCommit(bytes("12 01 6e 1a 01 6b 2a 01 70")),
    { method: "commit", name: "n", key: "k", labels: new Map(), parent: "p" },
  );
  // A varint, 64 and 32 bits of fields 100 and above; the last of two keys counts.
  const unknown = "a006 ffffffffffffffffff01 a906 0102030405060708 b506 01020304";
  assertEquals(
    readKey("stat")(bytes(`${unknown} 12 01 61 12 01 62`)),
    { method: "stat", key: "b" },
  );
  assertEquals(readList(bytes("12 01 61 12 00")), { method: "list", filters: ["a", ""] });
  assertEquals(readList(bytes("")), { method: "list", filters: [] });
});

Deno.test("protobuf: what is not a message is refused", () => {
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
    const error = assertThrows(() => readMake("view")(bytes(hex)), VeneerError, undefined, what);
    assertEquals(error.code, "invalid argument");
  }
  assertThrows(() => text(bytes("ff")), VeneerError);
});

Deno.test("protobuf: a writer grows with what it is given", () => {
  const long = "ä".repeat(5000);
  const message = new MessageWriter().string(1, long).integer(2, 2 ** 40 + 5).finish();
  const [field] = readFields(message);
  assertEquals(text(field.bytes), long);
  assertEquals(message.subarray(-7).toHex(), "10" + "858080808020");
});
