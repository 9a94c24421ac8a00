/** Answers to Stat and Mounts without a lane are never outdated. */
import { assert, assertEquals } from "@std/assert";
import { KnownAnswers } from "../../lib/services/containerd/known_answers.ts";
import { lacksFileSystem, needs } from "../support/cases.ts";
import { commit, make, ofKey, readInfos, update } from "./snapshots_client.ts";
import { TestService } from "./service_support.ts";

const bytes = (length: number) => new Uint8Array(length);
const OK = 0, NOT_FOUND = 5;
const NONE = new Map<string, string>();

Deno.test("known answers: an answer is kept unless a change of its key ran meanwhile", () => {
  const known = new KnownAnswers();
  const quiet = known.asking("stat", "a");
  quiet.keep(bytes(1));
  quiet.ended();
  assertEquals(known.get("stat", "a")?.length, 1);
  assertEquals(known.get("mounts", "a"), undefined, "another question");
  const before = known.asking("stat", "b");
  const change = known.changing({ method: "prepare", key: "b", parent: "", labels: NONE });
  const during = known.asking("stat", "b"), other = known.asking("stat", "c");
  before.keep(bytes(2));
  during.keep(bytes(2));
  other.keep(bytes(3));
  assertEquals(known.get("stat", "b"), undefined, "while a change runs");
  assertEquals(known.get("stat", "c")?.length, 3, "a change of another key");
  assertEquals(known.get("stat", "a")?.length, 1, "a change of another key");
  change.ended();
  before.keep(bytes(2));
  during.keep(bytes(2));
  assertEquals(known.get("stat", "b"), undefined, "a change ended since");
  const after = known.asking("stat", "b");
  after.keep(bytes(2));
  assertEquals(known.get("stat", "b")?.length, 2);
  const late = known.asking("stat", "d");
  late.ended();
  known.changing({ method: "update", key: "d", labels: NONE, fields: [] }).ended();
  late.keep(bytes(1));
  assertEquals(known.get("stat", "d"), undefined, "of a question that has ended");
});

Deno.test("known answers: a change removes the answers of its keys before it runs", () => {
  const known = new KnownAnswers();
  const left = () => ["a", "b", "c"].filter((key) => known.get("mounts", key) !== undefined);
  const keep = () => ["a", "b", "c"].forEach((key) => known.asking("mounts", key).keep(bytes(1)));
  keep();
  known.changing({ method: "update", key: "a", labels: NONE, fields: [] }).ended();
  assertEquals(left(), ["b", "c"]);
  keep();
  known.changing({ method: "commit", key: "a", name: "b", labels: NONE, parent: "" }).ended();
  assertEquals(left(), ["c"]);
  keep();
  known.changing({ method: "remove", key: "a" }).ended();
  assertEquals(left(), []);
});

Deno.test("known answers: a change's own answer is kept, unless another change runs", () => {
  const known = new KnownAnswers();
  const prepare = { method: "prepare", key: "a", parent: "", labels: NONE } as const;
  const first = known.changing(prepare, "mounts");
  first.keep(bytes(1));
  first.ended();
  assertEquals(known.get("mounts", "a")?.length, 1);
  for (
    const other of [
      { method: "remove", key: "b" },
      { method: "commit", key: "a", name: "b", labels: NONE, parent: "" },
      { method: "commit", key: "b", name: "a", labels: NONE, parent: "" },
    ] as const
  ) {
    const again = known.changing(prepare, "mounts"), behind = known.changing(other);
    again.keep(bytes(1));
    again.ended();
    behind.ended();
    assertEquals(known.get("mounts", "a"), undefined, `${other.method} ${other.key}`);
    const before = known.changing(other), beside = known.changing(prepare, "mounts");
    beside.keep(bytes(1));
    before.ended();
    beside.ended();
    assertEquals(known.get("mounts", "a"), undefined, `${other.method} ${other.key} before`);
  }
});

Deno.test("known answers: they have a limit, and the oldest are removed", () => {
  const known = new KnownAnswers();
  for (let n = 0; n < 2000; n++) known.asking("stat", `${n}`).keep(bytes(8000));
  const left = Array.from({ length: 2000 }, (_, n) => n).filter((n) => known.get("stat", `${n}`));
  assert(left.length > 100 && left.length < 600, `${left.length} are known`);
  assertEquals(left.at(-1), 1999);
  assertEquals(left[0], 2000 - left.length);
  known.asking("stat", "large").keep(bytes(1 << 20));
  assertEquals(known.get("stat", "large"), undefined);
});

needs(
  lacksFileSystem("overlay"),
  "known answers: a client sees its own changes, whatever others ask and change",
  async () => {
    await using service = await TestService.start();
    using writer = await service.connect();
    using reader = await service.connect();
    const stat = async (key: string) => {
      const { status, messages } = await writer.call("Stat", ofKey(key));
      return status === 0 ? readInfos(messages[0])[0] : undefined;
    };
    const mounts = async (key: string) => (await writer.call("Mounts", ofKey(key))).status;
    let isOver = false;
    const asking = Array.from({ length: 4 }, async () => {
      while (!isOver) {
        await reader.call("Stat", ofKey("key"));
        await reader.call("Mounts", ofKey("key"));
      }
    });
    for (let n = 0; n < 40; n++) {
      const of = (label: string) => ({ label: `${label} ${n}` });
      await writer.call("Prepare", make("key", "", of("prepared")));
      assertEquals((await stat("key"))?.labels.label, `prepared ${n}`);
      await writer.call("Update", update("key", of("updated")));
      assertEquals((await stat("key"))?.labels.label, `updated ${n}`);
      assertEquals(await mounts("key"), OK);
      await writer.call("Commit", commit("name", "key", of("committed")));
      assertEquals(await stat("key"), undefined);
      assertEquals(await mounts("key"), NOT_FOUND);
      assertEquals((await stat("name"))?.labels.label, `committed ${n}`);
      await writer.call("Remove", ofKey("name"));
      assertEquals(await stat("name"), undefined);
    }
    isOver = true;
    await Promise.all(asking);
  },
);
