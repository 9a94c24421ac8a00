/**
 * The service on a full disk: a call works, or is RESOURCE_EXHAUSTED and has changed nothing. Calls
 * that free space always work.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { mountImage } from "../runner/images.ts";
import { must, needs, tempDir } from "../support/cases.ts";
import { fill, SMALL_DISKS } from "../support/full_disk.ts";
import type { GrpcClient } from "./grpc_client.ts";
import {
  cleanup,
  commit,
  list,
  make,
  ofKey,
  readInfos,
  readMounts,
  update,
} from "./snapshots_client.ts";
import { TestService } from "./service_support.ts";

const OK = 0, NOT_FOUND = 5, RESOURCE_EXHAUSTED = 8;

async function succeed(client: GrpcClient, method: string, request: readonly number[]) {
  const reply = await client.call(method, request);
  assertEquals([reply.status, reply.message], [OK, ""], method);
  return reply.messages[0] ?? new Uint8Array();
}

/** Makes a call that may fail because the disk is full; returns whether it succeeded. */
async function fits(client: GrpcClient, method: string, request: readonly number[]) {
  const { status, message, messages } = await client.call(method, request);
  assert(status === OK || status === RESOURCE_EXHAUSTED, `${method}: ${status} ${message}`);
  if (status === OK) return true;
  assertEquals(messages, []);
  assertMatch(message, /no space|No space|quota/i);
  return false;
}

const kinds = async (client: GrpcClient) => {
  const { status, messages } = await client.call("List", list());
  assertEquals(status, OK);
  return new Map(messages.flatMap(readInfos).map(({ name, kind }) => [name, kind]));
};

/** The layers on disk, including those that are being made or deleted. */
function layersOf({ home, driver }: TestService): string[] {
  const directories = driver === "btrfs" ? ["active", "snapshots"] : ["snapshots"];
  return [...directories, ".veneer/staging"].flatMap((name) =>
    Array.from(Deno.readDirSync(`${home}/${name}`), ({ name }) => name)
  );
}

for (const [kind, mebibytes, driver, lacking] of SMALL_DISKS) {
  needs(
    lacking,
    `service: a full disk of ${kind} is RESOURCE_EXHAUSTED, and leaves nothing half made`,
    async () => {
      using dir = tempDir();
      using image = mountImage(kind, dir.path, mebibytes << 20);
      await using service = await TestService.at(`${image.mountPoint}/root`, driver);
      using client = await service.connect();
      const target = `${dir.path}/target`;
      Deno.mkdirSync(target);
      await succeed(client, "Prepare", make("first"));
      await succeed(client, "Commit", commit("base", "first"));
      const [{ type, source, options }] = readMounts(
        await succeed(client, "Prepare", make("full", "base")),
      );
      for (const key of ["a", "b", "c"]) await succeed(client, "Prepare", make(key, "base"));
      must("mount", "-t", type, "-o", options.join(","), source, target);
      fill(target);

      const before = await kinds(client), made: string[] = [];
      for (let i = 0; i < 100; i++) {
        const key = `${i} ${"x".repeat(1000)}`;
        if (await fits(client, "Prepare", make(key, "base", { l: "y".repeat(3000) }))) {
          made.push(key);
          await succeed(client, "Mounts", ofKey(key));
        } else assertEquals((await client.call("Stat", ofKey(key))).status, NOT_FOUND);
      }
      assert(made.length < 100, "it was not full");
      if (await fits(client, "Commit", commit("next", "a"))) before.delete("a");
      const after = await kinds(client);
      if (!before.has("a")) before.set("next", after.get("next")!);
      const expected = [...before.keys(), ...made].sort();
      assertEquals([...after.keys()].sort(), expected, "what is answered is there, and no more");
      await fits(client, "Update", update("b", { l: "z".repeat(4000) }));
      for (const key of ["base", "b", "full"]) await succeed(client, "Usage", ofKey(key));
      assertEquals(layersOf(service).length, expected.length, "nor is anything half made on disk");

      // A service can be started, and existing snapshots can be removed.
      assertEquals(await service.process.end(), 0);
      await service.restart();
      using again = await service.connect();
      assertEquals([...(await kinds(again)).keys()].sort(), expected);
      must("umount", target);
      for (const key of expected.filter((key) => key !== "base" && key !== "full")) {
        await succeed(again, "Remove", ofKey(key));
      }
      await succeed(again, "Remove", ofKey("full"));
      await succeed(again, "Cleanup", cleanup());
      await succeed(again, "Prepare", make("new", "base"));
      await succeed(again, "Commit", commit("newer", "new"));
      for (const key of ["newer", "base"]) await succeed(again, "Remove", ofKey(key));
      await succeed(again, "Cleanup", cleanup());
      assertEquals(layersOf(service), []);
    },
  );
}
