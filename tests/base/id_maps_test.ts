import { assert, assertEquals, assertFalse, assertThrows } from "@std/assert";
import { VeneerError } from "../../lib/base/errors.ts";
import { IdMap } from "../../lib/base/id_maps.ts";

Deno.test("the empty map is the identity", () => {
  const map = IdMap.parse([]);
  assert(map.isIdentity);
  assertEquals([map.toHost(0), map.toHost(4294967294), map.toContainer(7), map.root], [
    0,
    4294967294,
    7,
    0,
  ]);
});

Deno.test("ranges map both ways, at their edges too", () => {
  const map = IdMap.parse(["0:100000:65536", "65536:5:1,70000:6:2"]);
  assertFalse(map.isIdentity);
  const pairs = [[0, 100000], [65535, 165535], [65536, 5], [70000, 6], [70001, 7]];
  for (const [container, host] of pairs) {
    assertEquals(map.toHost(container), host);
    assertEquals(map.toContainer(host), container);
  }
  for (const id of [65537, 69999, 70002]) assertEquals(map.toHost(id), undefined);
  for (const id of [0, 4, 8, 99999, 165536]) assertEquals(map.toContainer(id), undefined);
  assertEquals(map.root, 100000);
});

Deno.test("a map without id 0 has no root", () => {
  const map = IdMap.parse(["1:100000:10"]);
  assertThrows(() => map.root, VeneerError, "it maps no id 0");
});

Deno.test("what is no range, overlaps or leaves 32 bits is refused", () => {
  const cases = [
    "",
    "0",
    "0:1",
    "0:1:2:3",
    "a:b:c",
    "-1:0:1",
    "0:0:0",
    "0: 1:2",
    "0:1:2,",
    "1.5:0:1",
  ];
  cases.push("0:4294967295:1", "4294967295:0:1", "0:0:4294967296", "0:99999999999999999999:1");
  cases.push("0:10:5,4:20:5", "0:10:5,5:14:5", "0:0:1,0:0:1");
  for (const text of cases) {
    const error = assertThrows(() => IdMap.parse([text]), VeneerError, undefined, text);
    assertEquals(error.code, "invalid argument");
    assert(error.message.startsWith("id map "), error.message);
  }
  assertEquals(IdMap.parse(["0:0:4294967295"]).toHost(4294967294), 4294967294);
});
