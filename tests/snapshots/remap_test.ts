/** Labels that ask for mapped ids: the maps that they name, and what they may not. */
import { assertEquals, assertThrows } from "@std/assert";
import { formatIdMap } from "../../lib/base/id_maps.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import { GID_LABEL, parseRemap, remapOf, UID_LABEL } from "../../lib/snapshots/remap.ts";

const labels = (uids?: string, gids?: string) =>
  new Map([[UID_LABEL, uids], [GID_LABEL, gids], ["other", "x"]].filter(
    (pair): pair is [string, string] => pair[1] !== undefined,
  ));

/** The one line with which labels are refused. */
function refusal(uids?: string, gids?: string): string {
  const error = assertThrows(() => remapOf(labels(uids, gids)), VeneerError);
  assertEquals(error.code, "invalid argument");
  const { message } = error;
  // deno-lint-ignore no-control-regex
  assertEquals(/[\x00-\x1f]/.test(message) || message.length > 300, false, message);
  return message;
}

Deno.test("remap: labels name ranges, for users and groups", () => {
  assertEquals(remapOf(labels()), undefined);
  const maps = remapOf(labels("0:100000:65536", "5:7:1,0:100000:5"))!;
  assertEquals(formatIdMap(maps.uids), "0:100000:65536");
  assertEquals(formatIdMap(maps.gids), "0:100000:5,5:7:1");
  assertEquals([maps.uids.root, maps.gids.root], [100_000, 100_000]);
  const most = Array.from({ length: 340 }, (_, i) => `${i}:${i}:1`).join();
  assertEquals(remapOf(labels(most, most))!.uids.ranges.length, 340);
});

Deno.test("remap: hostile labels are refused in a line", () => {
  const good = "0:1000:10";
  const cases: readonly [uids: string, rule: string][] = [
    ["0:1000:10,5:3000:1", "its container ids overlap"],
    ["0:1000:10,10:1005:10", "its host ids overlap"],
    ["0:1000:4294967295", "ends below 4294967295"],
    ["0:4294967295:1", "ends below 4294967295"],
    [`0:${"9".repeat(400)}:1`, "ends below 4294967295"],
    ["0:1000:0", "a size of at least 1"],
    ["1:1000:10", "it maps no id 0"],
    ["0:1000", "it must be CONTAINER:HOST:SIZE"],
    ["0:-1:10", "it must be CONTAINER:HOST:SIZE"],
    ["0:0x10:10", "it must be CONTAINER:HOST:SIZE"],
    [`${good},`, "it must be CONTAINER:HOST:SIZE"],
    ["0:1:1\n0:2:1", "it must be CONTAINER:HOST:SIZE"],
    ["\u0001".repeat(4000), "it must be CONTAINER:HOST:SIZE"],
    [Array.from({ length: 341 }, (_, i) => `${i}:${i}:1`).join(), "it has 341 ranges"],
  ];
  for (const [text, rule] of cases) {
    for (const [i, pair] of [[text, good], [good, text]].entries()) {
      const message = refusal(...pair);
      assertEquals(message.startsWith(`label "${[UID_LABEL, GID_LABEL][i]}": `), true, message);
      assertEquals(message.includes(rule), true, message);
    }
  }
  assertEquals(refusal(good), `label "${GID_LABEL}": it is missing, and ${UID_LABEL} is there`);
  assertEquals(
    refusal(undefined, good),
    `label "${UID_LABEL}": it is missing, and ${GID_LABEL} is there`,
  );
});

Deno.test("remap: the option is true or false", () => {
  assertEquals([parseRemap(), parseRemap("true"), parseRemap("false")], [false, true, false]);
  assertThrows(() => parseRemap("yes"), VeneerError, "snapshot.remap");
});
