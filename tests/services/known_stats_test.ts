/**
 * Stat's answers without a lane: never an old one.
 */
import { assert, assertEquals } from "@std/assert";
import { KnownStats } from "../../lib/services/containerd/known_stats.ts";
import { lacksFileSystem, needs } from "../support/cases.ts";
import { commit, make, ofKey, readInfos, update } from "./snapshots_client.ts";
import { TestService } from "./service_support.ts";

const bytes = (length: number) => new Uint8Array(length);
const NONE = new Map<string, string>();

Deno.test("known stats: an answer is kept unless a change ran meanwhile", () => {
  const stats = new KnownStats();
  const quiet = stats.asking("a");
  quiet(bytes(1));
  assertEquals(stats.get("a")?.length, 1);
  const before = stats.asking("b");
  const end = stats.changing({ method: "prepare", key: "c", parent: "", labels: NONE });
  const during = stats.asking("b");
  before(bytes(2));
  during(bytes(2));
  assertEquals(stats.get("b"), undefined, "while a change runs");
  assertEquals(stats.get("a")?.length, 1, "a change of another key");
  end();
  before(bytes(2));
  during(bytes(2));
  assertEquals(stats.get("b"), undefined, "a change ended since");
  stats.asking("b")(bytes(2));
  assertEquals(stats.get("b")?.length, 2);
});

Deno.test("known stats: a change takes the answers of its keys away before it runs", () => {
  const stats = new KnownStats();
  const known = () => ["a", "b", "c"].filter((key) => stats.get(key) !== undefined);
  const keep = () => ["a", "b", "c"].forEach((key) => stats.asking(key)(bytes(1)));
  keep();
  stats.changing({ method: "update", key: "a", labels: NONE, fields: [] })();
  assertEquals(known(), ["b", "c"]);
  keep();
  stats.changing({ method: "commit", key: "a", name: "b", labels: NONE, parent: "" })();
  assertEquals(known(), ["c"]);
  keep();
  stats.changing({ method: "remove", key: "a" })();
  assertEquals(known(), []);
});

Deno.test("known stats: they have a limit, and the oldest go", () => {
  const stats = new KnownStats();
  for (let n = 0; n < 2000; n++) stats.asking(`${n}`)(bytes(8000));
  const known = Array.from({ length: 2000 }, (_, n) => n).filter((n) => stats.get(`${n}`));
  assert(known.length > 100 && known.length < 600, `${known.length} are known`);
  assertEquals(known.at(-1), 1999);
  assertEquals(known[0], 2000 - known.length);
  stats.asking("large")(bytes(1 << 20));
  assertEquals(stats.get("large"), undefined);
});

needs(
  lacksFileSystem("overlay"),
  "known stats: a client sees its own changes, whatever others ask and change",
  async () => {
    await using service = await TestService.start();
    using writer = await service.connect();
    using reader = await service.connect();
    const stat = async (key: string) => {
      const { status, messages } = await writer.call("Stat", ofKey(key));
      return status === 0 ? readInfos(messages[0])[0] : undefined;
    };
    let isOver = false;
    const asking = Array.from({ length: 4 }, async () => {
      while (!isOver) await reader.call("Stat", ofKey("key"));
    });
    for (let n = 0; n < 40; n++) {
      const of = (label: string) => ({ label: `${label} ${n}` });
      await writer.call("Prepare", make("key", "", of("prepared")));
      assertEquals((await stat("key"))?.labels.label, `prepared ${n}`);
      await writer.call("Update", update("key", of("updated")));
      assertEquals((await stat("key"))?.labels.label, `updated ${n}`);
      await writer.call("Commit", commit("name", "key", of("committed")));
      assertEquals(await stat("key"), undefined);
      assertEquals((await stat("name"))?.labels.label, `committed ${n}`);
      await writer.call("Remove", ofKey("name"));
      assertEquals(await stat("name"), undefined);
    }
    isOver = true;
    await Promise.all(asking);
  },
);
