/**
 * An error's remedy: a field of its own, kept by all that passes an error on, and printed by the command line.
 */
import { assertEquals, assertInstanceOf } from "@std/assert";
import { adviceOf, attempt, messageOf, reworded, VeneerError } from "../../lib/base/errors.ts";
import { CrewMemory } from "../../lib/tar/apply/crew_memory.ts";

const busy = () =>
  new VeneerError("in use", "layer a is mounted", { remedy: "`veneer umount` it first" });

Deno.test("an error's message is without its remedy, its advice with it", () => {
  assertEquals(messageOf(busy()), "layer a is mounted");
  assertEquals(adviceOf(busy()), "layer a is mounted; `veneer umount` it first");
  assertEquals(adviceOf(new VeneerError("failed", "no")), "no");
  assertEquals(adviceOf(new Error("no")), "no");
});

Deno.test("an error keeps its code and remedy where it is reworded or a part of more fails", () => {
  const { code, message, remedy, cause } = reworded(busy(), "snapshot x: mounted");
  assertEquals([code, message, remedy], ["in use", "snapshot x: mounted", busy().remedy]);
  assertInstanceOf(cause, VeneerError);
  const told: string[] = [];
  attempt((error) => told.push(adviceOf(error)), "layer b", () => {
    throw busy();
  });
  assertEquals(told, ["layer b: layer a is mounted; `veneer umount` it first"]);
});

Deno.test("an error of an apply's worker keeps its code and remedy", () => {
  const memory = new CrewMemory();
  memory.setError(busy());
  const error = memory.takeError();
  assertInstanceOf(error, VeneerError);
  assertEquals([error.code, adviceOf(error)], ["in use", adviceOf(busy())]);
  memory.setError(new VeneerError("failed", "no"));
  assertEquals((memory.takeError() as VeneerError).remedy, undefined);
});
