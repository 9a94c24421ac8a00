/** Limits of snapshots by project quota: on xfs with pquota and ext4 with prjquota. */
// @runs on guest ext4, guest xfs
import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { O_DIRECTORY, O_RDONLY, open, withFd } from "../../../ffi/files.ts";
import { projectId, projectUsage } from "../../../ffi/quota.ts";
import { FIRST_OF_SNAPSHOTS, quotaLacking } from "../../../drivers/overlay2/project_quota.ts";
import { SIZE_LABEL } from "../../../lib/snapshots/limits.ts";
import type { Snapshots } from "../../../lib/snapshots/snapshots.ts";
import { lacksFileSystem, must, needs } from "../../support/cases.ts";
import { openSnapshotter } from "../../support/drivers.ts";
import { assertFails } from "../../support/errors.ts";
import { storeDir } from "../../support/store_dir.ts";

const MIB = 1 << 20;
const lacking = lacksFileSystem("overlay") ??
  quotaLacking(Deno.env.get("VENEER_TEST_DIR") ?? "/tmp");

type Open = (name: string, ...options: string[]) => Snapshots;

/** A case that opens stores by name, all on one file system. */
function test(name: string, body: (open: Open, directory: string) => void): void {
  needs(lacking, `overlay2 snapshots' limits: ${name}`, () => {
    using dir = storeDir();
    using scope = new DisposableStack();
    const open: Open = (name, ...options) => {
      const root = `${dir.path}/${name}`;
      return scope.use(openSnapshotter({ root, driver: "overlay2", options, warn: () => {} }));
    };
    body(open, dir.path);
  });
}

const at = <T>(path: string, use: (fd: number) => T): T =>
  withFd(open(path, O_RDONLY | O_DIRECTORY), use);

function place(snapshots: Snapshots, key: string): string {
  return `${snapshots.home}/snapshots/${snapshots.layerOf(key)}`;
}

function project(snapshots: Snapshots, key: string): number {
  return at(place(snapshots, key), projectId);
}

function limits(snapshots: Snapshots, key: string) {
  const { bytes, inodes } = at(place(snapshots, key), (fd) => projectUsage({ fd }, projectId(fd)));
  return { bytes, inodes };
}

function base(snapshots: Snapshots): void {
  snapshots.prepare("extract-1 base", "");
  snapshots.commit("base", "extract-1 base");
}

/** Writes files of a MiB through a mount until one does not fit; returns how many did. */
function room(snapshots: Snapshots, key: string): number {
  const root = snapshots.mount(key);
  try {
    for (let count = 0; count < 64; count++) {
      try {
        Deno.writeFileSync(`${root}/${count}`, new Uint8Array(MIB));
      } catch (error) {
        assertNotEquals(/ENOSPC|EDQUOT|os error (28|122)/.exec(String(error)), null, String(error));
        return count;
      }
    }
    return 64;
  } finally {
    snapshots.unmount(key);
  }
}

/** Directories may take a little of the limit: on ext4 a block each. */
function assertFew(count: number, most: number): void {
  assert(count === most || count === most - 1, `${count} MiB`);
}

test("containers are kept to the defaults, image layers are not", (open) => {
  const snapshots = open("store", "snapshot.size=8M", "snapshot.inodes=200");
  base(snapshots);
  snapshots.prepare("default/1/run", "base");
  snapshots.prepare("default/2/extract-2 more", "base");
  snapshots.view("view", "base");
  assertEquals(limits(snapshots, "default/1/run"), { bytes: 8 * MIB, inodes: 200 });
  for (const key of ["default/2/extract-2 more", "view", "base"]) {
    assertEquals(project(snapshots, key), 0, key);
  }
  const blocks = must("stat", "-f", "-c", "%b %S", snapshots.mount("default/1/run")).split(" ");
  snapshots.unmount("default/1/run");
  assertEquals(Number(blocks[0]) * Number(blocks[1]), 8 * MIB, "df in the container");
  assertFew(room(snapshots, "default/1/run"), 8);
  assertEquals(room(snapshots, "default/2/extract-2 more"), 64);
});

test("a label asks for a size, and its commit is read by children without one", (open) => {
  const snapshots = open("store");
  base(snapshots);
  snapshots.prepare("run", "base", { labels: new Map([[SIZE_LABEL, String(4 * MIB)]]) });
  assertFew(room(snapshots, "run"), 4);
  snapshots.commit("more", "run");
  snapshots.prepare("next", "more");
  assertEquals(limits(snapshots, "next"), { bytes: 0, inodes: 0 });
  assertEquals(room(snapshots, "next"), 64);
});

test("stores on one file system never share a project", (open) => {
  const stores = ["one", "two"].map((name) => open(name, "snapshot.size=8M"));
  const projects = new Set<number>();
  for (const snapshots of stores) base(snapshots);
  for (let i = 0; i < 4; i++) {
    for (const snapshots of stores) {
      snapshots.prepare(`run ${i}`, "base");
      projects.add(project(snapshots, `run ${i}`));
    }
  }
  assertEquals(projects.size, 8);
  assertEquals(Math.min(...projects) >= FIRST_OF_SNAPSHOTS, true);
});

test("a removal lifts the limit, and its project is given out again", (open) => {
  const snapshots = open("store", "snapshot.size=8M");
  base(snapshots);
  snapshots.prepare("run", "base");
  const id = project(snapshots, "run");
  snapshots.remove("run");
  const usage = at(snapshots.home, (fd) => projectUsage({ fd }, id));
  assertEquals(usage, { bytes: 0, inodes: 0, usedBytes: 0, usedInodes: 0 });
  const again = open("store", "snapshot.size=4M");
  again.prepare("run", "base");
  assertEquals(project(again, "run"), id);
  assertEquals(limits(again, "run"), { bytes: 4 * MIB, inodes: 0 });
});

test("a tar that starts over is kept to the limit", (open, directory) => {
  const snapshots = open("store", "snapshot.size=8M");
  base(snapshots);
  snapshots.prepare("run", "base");
  Deno.writeFileSync(`${directory}/no.tar`, new Uint8Array(1024).fill(1));
  Deno.writeTextFileSync(`${directory}/cut.tar`, "");
  assertThrows(() => {
    using file = Deno.openSync(`${directory}/no.tar`);
    snapshots.applyDiff("run", file);
  });
  assertEquals(limits(snapshots, "run"), { bytes: 8 * MIB, inodes: 0 });
});

test("limits that the driver has for layers are not for snapshots", (open) => {
  const error = assertFails("not supported", () => open("store", "overlay2.size=1G"));
  assertEquals(error.message.includes("snapshot.size"), true);
});

test("the usage of an active snapshot is the file system's count, as a walk counts it", (open) => {
  const snapshots = open("store");
  base(snapshots);
  snapshots.prepare("run", "base");
  assertEquals(limits(snapshots, "run"), { bytes: 0, inodes: 0 });
  assert(project(snapshots, "run") >= FIRST_OF_SNAPSHOTS);
  assertEquals(snapshots.agedUsage("run"), { usage: { bytes: 0, inodes: 0 }, age: 0 });
  const root = snapshots.mount("run");
  for (let i = 0; i < 300; i++) Deno.writeTextFileSync(`${root}/a file ${i}`, "x".repeat(i));
  Deno.writeFileSync(`${root}/large`, new Uint8Array(5 * MIB));
  Deno.mkdirSync(`${root}/fs/fs`, { recursive: true });
  Deno.linkSync(`${root}/large`, `${root}/fs/link`);
  snapshots.unmount("run");
  must("sync", "-f", snapshots.home);
  const counted = snapshots.usage("run");
  snapshots.commit("more", "run");
  assertEquals(counted, snapshots.usage("more"));
  assertEquals(counted.inodes, 303);
  snapshots.prepare("next", "more");
  assertEquals(snapshots.agedUsage("next").age, 0);
  snapshots.prepare("extract-1 next", "more");
  assert(snapshots.agedUsage("extract-1 next").age > 0, "without a project it is a walk");
});
