/** An error's remedy: data beside the message, kept by all that passes an error on. */
import { assertEquals, assertInstanceOf } from "@std/assert";
import { attempt, messageOf, remedyOf, reworded, VeneerError } from "../../lib/base/errors.ts";
import { JobMemory } from "../../lib/tar/apply/job_memory.ts";

const REMEDY = { kind: "umount", id: "a" } as const;
const busy = () => new VeneerError("in use", "layer a is mounted", { remedy: REMEDY });

Deno.test("an error's message is without its remedy", () => {
  assertEquals(messageOf(busy()), "layer a is mounted");
  assertEquals(remedyOf(busy()), REMEDY);
  assertEquals(remedyOf(new VeneerError("failed", "no")), undefined);
  assertEquals(remedyOf(new Error("no")), undefined);
});

Deno.test("an error keeps its code and remedy if it is reworded or a part of more fails", () => {
  const { code, message, remedy, cause } = reworded(busy(), "snapshot x: mounted");
  assertEquals([code, message, remedy], ["in use", "snapshot x: mounted", REMEDY]);
  assertInstanceOf(cause, VeneerError);
  const told: unknown[] = [];
  attempt((error) => told.push([error.message, error.remedy]), "layer b", () => {
    throw busy();
  });
  assertEquals(told, [["layer b: layer a is mounted", REMEDY]]);
});

Deno.test("an error of an apply's worker keeps its code and remedy", () => {
  const memory = new JobMemory();
  memory.setError(busy());
  const error = memory.takeError();
  assertInstanceOf(error, VeneerError);
  assertEquals([error.code, error.message, error.remedy], ["in use", busy().message, REMEDY]);
  memory.setError(new VeneerError("failed", "no"));
  assertEquals((memory.takeError() as VeneerError).remedy, undefined);
});
