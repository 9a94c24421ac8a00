import { assertEquals, assertThrows } from "@std/assert";
import { VeneerError } from "../../lib/base/errors.ts";
import { Ancestry } from "../../lib/graph/ancestry.ts";

/** What is said of each layer: its parent, or `circular`; and how often records were read. */
function say(
  records: Record<string, string | undefined>,
): [said: Record<string, string>, reads: number] {
  let reads = 0;
  const ancestry = new Ancestry((id) => {
    reads++;
    if (!(id in records)) throw new Error(`${id} was read`);
    return records[id];
  });
  const said = Object.keys(records).map((id) => {
    try {
      return [id, String(ancestry.parent(id))];
    } catch (error) {
      if (error instanceof VeneerError && error.code === "corrupt store") return [id, "circular"];
      throw error;
    }
  });
  return [Object.fromEntries(said), reads];
}

Deno.test("ancestry: layers of a circle stand on nothing, those on a circle on one of it", () => {
  const [said] = say({ z: "y", y: "x", x: "w", w: "x", self: "self", base: "", top: "base" });
  assertEquals(said, {
    z: "y",
    y: "x",
    x: "circular",
    w: "circular",
    self: "circular",
    base: "",
    top: "base",
  });
});

Deno.test("ancestry: a long chain is read once, whoever asks", () => {
  const records: Record<string, string> = { "0": "" };
  for (let i = 1; i < 20_000; i++) records[i] = `${i - 1}`;
  const [said, reads] = say(records);
  assertEquals(said["19999"], "19998");
  assertEquals(reads, 20_000);
});

Deno.test("ancestry: what is no id is not followed", () => {
  assertEquals(say({ a: "../../etc/x" })[0], { a: "../../etc/x" });
  assertEquals(say({ a: undefined })[0], { a: "undefined" });
  assertThrows(
    () =>
      new Ancestry(() => {
        throw new Error("EIO");
      }).parent("a"),
    Error,
    "EIO",
  );
});
