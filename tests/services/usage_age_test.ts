/**
 * Usage of active snapshots: a count is used again for a time, and never for another snapshot with
 * the same name.
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { VeneerError } from "../../lib/base/errors.ts";
import { ageOf, parseUsageAge } from "../../lib/snapshots/usage_age.ts";
import { keysOfUsage, KnownAnswers } from "../../lib/services/containerd/known_answers.ts";
import { lacksFileSystem, needs } from "../support/cases.ts";
import { cleanup, commit, make, ofKey, readMounts, readUsage } from "./snapshots_client.ts";
import { TestService, until } from "./service_support.ts";

const NONE = new Map<string, string>();
const ANSWER = new Uint8Array(1);

Deno.test("usage.age: a count is used for the option's time, or for 50 times its duration", () => {
  assertEquals([parseUsageAge(), parseUsageAge("5"), parseUsageAge("0")], [60, 5, 0]);
  for (const text of ["", "-1", "1.5", "1m", "9999999999"]) {
    assertThrows(() => parseUsageAge(text), VeneerError, "number of seconds", text);
  }
  assertEquals(ageOf(3, 60), 60_000);
  assertEquals(ageOf(2000, 60), 100_000);
  assertEquals(ageOf(2000, 0), 0);
});

Deno.test("usage.age: an answer is kept until it is too old, or its snapshot changes", () => {
  let time = 0;
  const known = new KnownAnswers(keysOfUsage, () => time);
  const keep = () => known.asking("usage", "a").keep(ANSWER, 100);
  const isKept = () => known.get("usage", "a") !== undefined;
  keep();
  time = 99;
  assert(isKept());
  time = 100;
  assert(!isKept(), "too old");
  keep();
  for (const method of ["remove", "commit", "prepare"] as const) {
    known.changing({ method, key: "b", name: "c", parent: "", labels: NONE }).ended();
  }
  known.changing({ method: "cleanup" }).ended();
  known.changing({ method: "update", key: "a", labels: NONE, fields: [] }).ended();
  assert(isKept(), "others, and labels");
  const changes = [
    { method: "remove", key: "a" },
    { method: "prepare", key: "a", parent: "", labels: NONE },
    { method: "commit", key: "a", name: "b", parent: "", labels: NONE },
    { method: "commit", key: "b", name: "a", parent: "", labels: NONE },
  ] as const;
  for (const change of changes) {
    keep();
    const asked = known.asking("usage", "a"), changing = known.changing(change);
    assert(!isKept(), change.method);
    changing.ended();
    asked.keep(ANSWER, 100);
    assert(!isKept(), `${change.method}: asked before`);
  }
});

const lacking = lacksFileSystem("overlay");

/**
 * Starts a service with an active snapshot; returns functions for its Usage, for writing to it, and
 * for the log's lines.
 */
async function serving(scope: AsyncDisposableStack, ...options: string[]) {
  const service = scope.use(await TestService.start(...options));
  const client = scope.use(await service.connect());
  const call = async (method: string, request: number[]) => {
    const { status, messages } = await client.call(method, request);
    assertEquals(status, 0, method);
    return messages[0];
  };
  const prepare = async (key: string) => readMounts(await call("Prepare", make(key)))[0].source;
  return {
    call,
    prepare,
    inodes: async (key: string) => readUsage(await call("Usage", ofKey(key))).inodes,
    lines: () => service.process.log.split("\n").filter((line) => line.includes("method=Usage")),
  };
}

needs(lacking, "usage.age: the service repeats a count, and its log shows that", async () => {
  await using scope = new AsyncDisposableStack();
  const { call, prepare, inodes, lines } = await serving(scope);
  const place = await prepare("run");
  Deno.writeTextFileSync(join(place, "one"), "");
  assertEquals(await inodes("run"), 1);
  Deno.writeTextFileSync(join(place, "two"), "");
  await prepare("other");
  await call("Remove", ofKey("other"));
  await call("Cleanup", cleanup());
  assertEquals(await inodes("run"), 1);
  await until(() => lines().length === 2, "two lines");
  assertEquals(lines().map((line) => line.includes("usage=cached")), [false, true]);
  await call("Remove", ofKey("run"));
  await prepare("run");
  assertEquals(await inodes("run"), 0, "another snapshot of that name");
  await call("Commit", commit("run 2", "run"));
  assertEquals(await inodes("run 2"), 0);
});

needs(lacking, "usage.age=0: the service counts each time", async () => {
  await using scope = new AsyncDisposableStack();
  const { prepare, inodes, lines } = await serving(scope, "-o", "usage.age=0");
  const place = await prepare("run");
  for (const count of [1, 2, 3]) {
    Deno.writeTextFileSync(join(place, `${count}`), "");
    assertEquals(await inodes("run"), count);
  }
  await until(() => lines().length === 3, "three lines");
  assert(lines().every((line) => !line.includes("cached")));
});
