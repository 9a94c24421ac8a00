/** The service's calls that change labels, count space, and delete. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { dirname, join } from "@std/path";
import { lacksFileSystem, must, needs, unmountBelow } from "../support/cases.ts";
import { isThere } from "../support/files.ts";
import type { GrpcClient } from "./grpc_client.ts";
import {
  cleanup,
  commit,
  type Labels,
  list,
  make,
  ofKey,
  readInfos,
  readMounts,
  readUsage,
  update,
} from "./snapshots_client.ts";
import { TestService, until } from "./service_support.ts";

const lacking = lacksFileSystem("overlay");

const OK = 0, INVALID_ARGUMENT = 3, NOT_FOUND = 5, FAILED_PRECONDITION = 9;

/** A call that must succeed; returns its message. */
async function succeed(client: GrpcClient, method: string, request: readonly number[]) {
  const reply = await client.call(method, request);
  assertEquals([reply.status, reply.message], [OK, ""], method);
  return reply.messages[0];
}

/** Prepares a snapshot; returns its layer's directory. */
async function prepare(client: GrpcClient, key: string, parent = ""): Promise<string> {
  const [{ options, source }] = readMounts(
    await succeed(client, "Prepare", make(key, parent)),
  );
  return options.find((o) => o.startsWith("upperdir="))?.slice("upperdir=".length) ?? source;
}

needs(
  lacking,
  "calls: Update replaces labels, all of them or those that a mask names",
  async () => {
    await using service = await TestService.start();
    using client = await service.connect();
    await succeed(client, "Prepare", make("key", "", { a: "1", b: "2" }));
    const [before] = readInfos(await succeed(client, "Stat", ofKey("key")));
    const after = async (labels: Labels, ...paths: string[]) => {
      const [info] = readInfos(await succeed(client, "Update", update("key", labels, ...paths)));
      assertEquals(readInfos(await succeed(client, "Stat", ofKey("key"))), [info]);
      const { labels: now, updated, ...rest } = info;
      const { labels: _old, updated: from, ...same } = before;
      assertEquals(rest, same, "all else stays, also when it was created");
      assert(updated >= from);
      return now;
    };
    assertEquals(await after({ c: "3" }), { c: "3" }, "without a mask");
    assertEquals(await after({ a: "1", b: "2" }, "labels"), { a: "1", b: "2" });
    assertEquals(await after({ a: "x", b: "y" }, "labels.a"), { a: "x", b: "2" });
    assertEquals(await after({ "x.y/z": "w" }, "labels.x.y/z", "labels.b"), {
      a: "x",
      "x.y/z": "w",
    });
    assertEquals(await after({ a: "" }, "labels.a"), { "x.y/z": "w" }, "an empty value is none");
    assertEquals(await after({}, "labels"), {});

    for (const path of ["name", "kind", "parent", "label", "labels/a", ""]) {
      const { status, message } = await client.call("Update", update("key", { a: "1" }, path));
      assertEquals(status, INVALID_ARGUMENT, path);
      assertMatch(message, /only labels, or labels\.KEY, can be changed/);
    }
    assertEquals((await client.call("Update", update("missing", {}))).status, NOT_FOUND);
    const long = update("key", { a: "x".repeat(4096) });
    assertEquals((await client.call("Update", long)).status, INVALID_ARGUMENT);
    assertEquals(readInfos(await succeed(client, "Stat", ofKey("key")))[0].labels, {});
  },
);

needs(lacking, "calls: Usage counts the space that a snapshot adds", async () => {
  await using service = await TestService.start("-o", "usage.age=0");
  using client = await service.connect();
  const usage = async (key: string) => readUsage(await succeed(client, "Usage", ofKey(key)));
  const base = await prepare(client, "a");
  const content = new Uint8Array(1 << 20);
  Deno.writeFileSync(join(base, "file"), content);
  const counted = await usage("a");
  assert(counted.bytes >= content.length && counted.bytes < 2 * content.length, `${counted.bytes}`);
  assertEquals(counted.inodes, 1);
  Deno.mkdirSync(join(base, "directory"));
  assertEquals((await usage("a")).inodes, 2, "it is counted anew");
  await succeed(client, "Commit", commit("base", "a"));
  assertEquals((await usage("base")).inodes, 2);
  await prepare(client, "b", "base");
  assertEquals((await usage("b")).inodes, 0, "without its parent's");
  await succeed(client, "View", make("view", "base"));
  assertEquals(await usage("view"), { bytes: 0, inodes: 0 });
  assertEquals((await client.call("Usage", ofKey("missing"))).status, NOT_FOUND);
});

/** The layers on disk, including those that are being deleted. */
function layersOf(service: TestService): string[] {
  return ["snapshots", ".veneer/staging"].flatMap((directory) =>
    Array.from(Deno.readDirSync(join(service.home, directory)), ({ name }) => name)
  );
}

/** Fills a directory with so many files that their deletion takes a while. */
function fill(directory: string, count = 20_000): void {
  must("sh", "-c", `cd "$1" && seq ${count} | split -l 1 -a 4 - f`, "sh", directory);
}

needs(lacking, "calls: Remove returns at once, and the layer is deleted afterwards", async () => {
  await using service = await TestService.start();
  using client = await service.connect();
  // On a busy machine this process may look too late, but not each time.
  for (let tries = 1;; tries++) {
    fill(await prepare(client, "large"));
    const began = performance.now();
    await succeed(client, "Remove", ofKey("large"));
    const removing = performance.now() - began;
    assertEquals((await client.call("Stat", ofKey("large"))).status, NOT_FOUND);
    const isLeft = layersOf(service).length === 1;
    await until(() => layersOf(service).length === 0, "the layer to be deleted");
    const deleting = performance.now() - began;
    if (isLeft && removing * 3 < deleting) break;
    assert(
      tries < 8,
      `Remove took ${removing} ms, the deletion ${deleting} ms, still there: ${isLeft}`,
    );
  }
});

for (const signal of ["SIGKILL", "SIGTERM"] as const) {
  needs(
    lacking,
    `calls: layers that are not deleted at a ${signal} are deleted by the next service`,
    async () => {
      await using service = await TestService.start();
      using client = await service.connect();
      const keys = ["a", "b", "c"];
      for (const key of keys) {
        // A layer that is a mount point cannot be deleted.
        const place = dirname(await prepare(client, key));
        must("mount", "--bind", place, place);
      }
      for (const key of keys) await succeed(client, "Remove", ofKey(key));
      await service.process.end(signal);
      assertEquals(layersOf(service).length, 3);
      unmountBelow(service.home);
      await service.restart();
      await until(() => layersOf(service).length === 0, "the layers to be deleted");
    },
  );
}

needs(lacking, "calls: after Cleanup no layer removed before is left", async () => {
  await using service = await TestService.start();
  using client = await service.connect();
  const keys = ["a", "b", "c", "d"];
  // On a busy machine all may be deleted before this process goes on, but not each time.
  for (let tries = 1, left = 0; left <= 1; tries++) {
    assert(tries < 8, "each time there was nothing for Cleanup");
    for (const key of keys) fill(await prepare(client, key), 3000);
    for (const key of keys) await succeed(client, "Remove", ofKey(key));
    // A layer without a record, which a power failure can bring back.
    Deno.mkdirSync(join(service.home, "snapshots/orphan/fs"), { recursive: true });
    left = layersOf(service).length;
    await succeed(client, "Cleanup", cleanup());
    assertEquals(layersOf(service), []);
  }
});

needs(lacking, "calls: Cleanup reports what it cannot delete, and deletes the rest", async () => {
  await using service = await TestService.start();
  using client = await service.connect();
  const stuck = await prepare(client, "stuck");
  const other = await prepare(client, "other");
  // Another program has mounted something on the layer itself, after its record was removed: the
  // layer is not deleted.
  const place = dirname(stuck);
  await succeed(client, "Remove", ofKey("other"));
  await until(() => !isThere(other), "the other to be deleted");
  must("mount", "--bind", place, place);
  const { status, message } = await client.call("Remove", ofKey("stuck"));
  assertEquals([status, message], [OK, ""]);
  const refused = await client.call("Cleanup", cleanup());
  assertEquals(refused.status, FAILED_PRECONDITION, refused.message);
  assertMatch(refused.message, /was not deleted.*is a mount point; unmount it first/);
  unmountBelow(place);
  await succeed(client, "Cleanup", cleanup());
  assertEquals(layersOf(service), []);
});

needs(
  lacking,
  "calls: snapshots that the engine has mounted can be committed and removed",
  async () => {
    await using service = await TestService.start();
    using client = await service.connect();
    const target = join(service.directory.path, "target");
    Deno.mkdirSync(target);
    await prepare(client, "a");
    await succeed(client, "Commit", commit("base", "a"));
    const [overlay] = readMounts(await succeed(client, "Prepare", make("b", "base")));
    must("mount", "-t", overlay.type, "-o", overlay.options.join(","), overlay.source, target);
    Deno.writeTextFileSync(join(target, "file"), "content");
    await succeed(client, "Commit", commit("next", "b"));
    await succeed(client, "Prepare", make("c", "next"));
    for (const key of ["c", "next", "base"]) await succeed(client, "Remove", ofKey(key));
    await until(() => layersOf(service).length === 0, "the layers to be deleted");
    unmountBelow(target);
    assertEquals(readInfos(await succeed(client, "List", list()) ?? new Uint8Array()), []);
  },
);

needs(lacking, "calls: the directory of changes is published as a label on demand", async () => {
  await using service = await TestService.start("-o", "overlay2.upperdir_label=true");
  using client = await service.connect();
  const LABEL = "containerd.io/snapshot/overlay.upperdir";
  const directory = await prepare(client, "key");
  const all = { a: "1", [LABEL]: directory };
  const labels = async (method: string, request: readonly number[]) =>
    readInfos(await succeed(client, method, request)).map(({ labels }) => labels);
  // A client passes the published label back, or one with another value: it is not recorded.
  assertEquals(await labels("Update", update("key", { a: "1", [LABEL]: "/x" })), [all]);
  assertEquals(await labels("Stat", ofKey("key")), [all]);
  assertEquals(await labels("List", list(`labels."${LABEL}"=="${directory}"`)), [all]);
  await service.process.end();
  await service.restart();
  using plain = await service.connect();
  assertEquals(readInfos(await succeed(plain, "Stat", ofKey("key")))[0].labels, { a: "1" });
});
