/** What btrfs snapshots add: held to btrfs-progs, and counted without reading what did not change. */
// @runs on btrfs
import { setTime } from "../../support/tree_entries.ts";
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { disableQuota, quotaStatus, tryEnableQuota } from "../../../ffi/btrfs_quota.ts";
import { commit } from "../../../ffi/btrfs_volume.ts";
import { unwrap } from "../../../ffi/unwrap.ts";
import type { Usage } from "../../../lib/snapshots/snapshotter.ts";
import { lacksProgram, must } from "../../support/cases.ts";
import { directory } from "./support.ts";
import {
  inDirectory,
  makeSubvolume,
  mounted,
  snapshotCase,
  type SnapshotHome,
} from "./snapshots_support.ts";

const KIB = 1024, MIB = 1024 * KIB;
const random = (bytes: number) => {
  const data = new Uint8Array(bytes);
  for (let at = 0; at < bytes; at += 65536) crypto.getRandomValues(data.subarray(at, at + 65536));
  return data;
};
const write = (path: string, bytes: number) => Deno.writeFileSync(path, random(bytes));

/** A base with large files, a small one that lies in the tree, space set aside, a hole with data behind it. */
function fillBase(path: string): void {
  Deno.mkdirSync(`${path}/dir`);
  write(`${path}/large`, 8 * MIB);
  write(`${path}/dir/small`, 1000);
  write(`${path}/dir/other`, 100 * KIB);
  must("fallocate", "-l", "1M", `${path}/space`);
  using sparse = Deno.openSync(`${path}/sparse`, { create: true, write: true });
  sparse.seekSync(64 * MIB, Deno.SeekMode.Start);
  sparse.writeSync(random(64 * KIB));
}

/** The large file, the other, the space, the end of the sparse one, and what lies in the tree. */
const BASE: Usage = { bytes: 8 * MIB + 100 * KIB + MIB + 64 * KIB + 1000, inodes: 7 };

/** What each change adds to that base. */
const CHANGES: readonly (readonly [what: string, change: (path: string) => void, adds: Usage])[] = [
  ["nothing", () => {}, { bytes: 0, inodes: 0 }],
  ["a file", (p) => write(`${p}/dir/new`, 1 * MIB), { bytes: MIB, inodes: 2 }],
  ["a file in the root", (p) => write(`${p}/new`, 1 * MIB), { bytes: MIB, inodes: 2 }],
  ["a file in the tree", (p) => write(`${p}/dir/new`, 700), { bytes: 700, inodes: 2 }],
  ["an empty directory", (p) => Deno.mkdirSync(`${p}/dir/new`), { bytes: 0, inodes: 2 }],
  ["4 KiB in the middle of a file", (p) => overwrite(`${p}/large`), { bytes: 4 * KIB, inodes: 1 }],
  ["4 KiB of space set aside", (p) => overwrite(`${p}/space`), { bytes: 4 * KIB, inodes: 1 }],
  ["a file anew", (p) => write(`${p}/large`, 2 * MIB), { bytes: 2 * MIB, inodes: 1 }],
  ["a mode", (p) => Deno.chmodSync(`${p}/large`, 0o600), { bytes: 0, inodes: 1 }],
  ["an attribute", (p) => {
    must("setfattr", "-n", "user.note", "-v", "x", `${p}/dir/small`);
  }, { bytes: 0, inodes: 1 }],
  [
    "times", // The time of change with them.
    (p) => setTime(`${p}/large`, 3, 4),
    { bytes: 0, inodes: 1 },
  ],
  ["a name", (p) => Deno.renameSync(`${p}/large`, `${p}/renamed`), { bytes: 0, inodes: 2 }],
  ["one name more", (p) => Deno.linkSync(`${p}/large`, `${p}/dir/link`), { bytes: 0, inodes: 2 }],
  ["a file less", (p) => Deno.removeSync(`${p}/dir/other`), { bytes: 0, inodes: 1 }],
  ["a file cut off", (p) => Deno.truncateSync(`${p}/large`, MIB), { bytes: 0, inodes: 1 }],
  ["a copy that shares its data", (p) => {
    must("cp", "--reflink=always", `${p}/large`, `${p}/dir/copy`);
  }, { bytes: 0, inodes: 2 }],
  ["a new file and two copies that share its data", (p) => {
    write(`${p}/dir/new`, 1 * MIB);
    for (const i of [1, 2]) must("cp", "--reflink=always", `${p}/dir/new`, `${p}/dir/copy-${i}`);
  }, { bytes: MIB, inodes: 4 }],
  ["space without data", (p) => {
    must("fallocate", "-l", "1M", `${p}/dir/new`);
  }, { bytes: MIB, inodes: 2 }],
  ["a file that came and went", (p) => {
    write(`${p}/dir/new`, 1 * MIB);
    must("sync", "-f", p);
    Deno.removeSync(`${p}/dir/new`);
  }, { bytes: 0, inodes: 1 }],
  ["a subvolume, which is not committed", (p) => {
    makeSubvolume(`${p}/dir`, "nested");
    write(`${p}/dir/nested/file`, 1 * MIB);
  }, { bytes: 0, inodes: 1 }],
];

/** Writes 4 KiB half a MiB into a file. */
function overwrite(path: string): void {
  using file = Deno.openSync(path, { write: true });
  file.seekSync(512 * KIB, Deno.SeekMode.Start);
  file.writeSync(random(4 * KIB));
}

snapshotCase("usage of each kind of change, active and committed", (store) => {
  const { backend } = store;
  const { chain: base } = store.commit("base", fillBase);
  assertEquals(backend.usage(base), BASE);
  for (const [what, change, adds] of CHANGES) {
    const { chain, path } = store.prepare(what, "base");
    change(path);
    assertEquals(backend.usage(chain), adds, `${what}, active`);
    const committed = store.chain("committed", what, "base");
    backend.freeze(chain, committed.layer);
    backend.remove(chain.layer);
    assertEquals(backend.usage(committed), adds, `${what}, committed`);
  }
  assertEquals(backend.usage(base), BASE, "with children");
});

snapshotCase("what was only read adds nothing", (store, dir) => {
  store.commit("base", fillBase);
  const { chain, path } = store.prepare("key", "base");
  const [mount] = store.backend.mounts(chain);
  const inode = () => must("stat", "-c", "%x", `${path}/large`, `${path}/dir`);
  const before = inode();
  mounted([{ ...mount, options: [...mount.options, "strictatime"] }], `${dir.path}/target`, () => {
    Deno.readFileSync(`${dir.path}/target/large`);
    must("ls", `${dir.path}/target/dir`);
  });
  assertNotEquals(inode(), before);
  assertEquals(store.backend.usage(chain), { bytes: 0, inodes: 0 });
});

snapshotCase("a layer without a parent is counted whole, its root included", (store) => {
  const { chain, path } = store.prepare("key");
  assertEquals(store.backend.usage(chain), { bytes: 0, inodes: 1 });
  fillBase(path);
  assertEquals(store.backend.usage(chain), BASE);
});

snapshotCase("usage is what btrfs-progs calls exclusive", (store) => {
  const { path: base } = store.commit("base", fillBase);
  assertEquals(du(base)[0], BASE.bytes - 1000, "it does not count what lies in the tree");
  const { chain, path } = store.commit("name", (path) => {
    write(`${path}/large`, 3 * MIB);
    write(`${path}/dir/new`, 5 * MIB);
    must("cp", "--reflink=always", `${path}/sparse`, `${path}/copy`);
  }, "base");
  // What was active shares the data until the kernel's cleaner has freed it.
  inDirectory(store.home, commit);
  must("btrfs", "subvolume", "sync", "-s", "1", store.home);
  assertEquals(store.backend.usage(chain).bytes, du(path)[1]);
});

/** What `btrfs filesystem du` says, in bytes. */
function du(path: string): [total: number, exclusive: number] {
  const line = must("btrfs", "filesystem", "du", "-s", "--raw", path).trim().split("\n").at(-1)!;
  const [total, exclusive] = line.trim().split(/\s+/).map(Number);
  return [total, exclusive];
}

for (const mode of ["qgroup", "simple"] as const) {
  snapshotCase(`usage with quotas on: ${mode}`, (store) => {
    const onVolume = (use: (fd: number) => void) => inDirectory(directory, use);
    onVolume((fd) => {
      if (quotaStatus(fd).mode !== "off") disableQuota(fd);
      unwrap(tryEnableQuota(fd, mode), "quota");
    });
    try {
      if (mode === "qgroup") must("btrfs", "quota", "rescan", "-w", directory);
      const { backend } = store;
      const { chain: base } = store.commit("base", fillBase);
      assertEquals(backend.usage(base), BASE);
      const { chain, path } = store.prepare("key", "base");
      write(`${path}/dir/new`, 1 * MIB);
      write(`${path}/dir/small`, 1000);
      const { bytes, inodes } = backend.usage(chain);
      assertEquals(inodes, 3);
      assertEquals(bytes, mode === "simple" ? MIB + 1000 : exclusive(path));
      assert(bytes >= MIB && bytes <= MIB + 256 * KIB, `${bytes}`);
      const committed = store.chain("committed", "name", "base");
      backend.freeze(chain, committed.layer);
      backend.remove(chain.layer);
      backend.prepare(store.chain("active", "child", "name", "base"));
      assertEquals(backend.usage(committed), { bytes: MIB + 1000, inodes: 3 });
    } finally {
      onVolume(disableQuota);
    }
  });
}

/** What `btrfs qgroup show` says of a subvolume. */
function exclusive(path: string): number {
  const line = must("btrfs", "qgroup", "show", "-f", "--raw", path).trim().split("\n").at(-1)!;
  return Number(line.trim().split(/\s+/)[2]);
}

/** Counts a snapshot's usage in a process of its own; returns how often each call was made. */
function callsOfUsage(
  store: SnapshotHome,
  kind: string,
  names: readonly string[],
): Map<string, number> {
  const calls = `${store.directory}/calls`;
  const script = new URL("./snapshots_usage_child.ts", import.meta.url).pathname;
  const trace = ["-f", "-c", "-o", calls, "-e", "trace=ioctl,getdents64,statx"];
  must(
    "strace",
    ...trace,
    Deno.execPath(),
    "run",
    "-A",
    "--no-check",
    script,
    store.root,
    kind,
    ...names,
  );
  const lines = Deno.readTextFileSync(calls).split("\n").map((line) => line.trim().split(/\s+/));
  return new Map(
    lines.flatMap((words) => /^\d/.test(words[0]) ? [[words.at(-1)!, Number(words[3])]] : []),
  );
}

snapshotCase("what did not change is not read: 200 files of 15,000", (store) => {
  const { chain: base } = store.commit("base", (path) => {
    for (let d = 0; d < 150; d++) {
      Deno.mkdirSync(`${path}/${d}`);
      for (let f = 0; f < 100; f++) Deno.writeTextFileSync(`${path}/${d}/${f}`, "");
    }
  });
  assertEquals(store.backend.usage(base), { bytes: 0, inodes: 15_151 });
  const { chain, path } = store.prepare("key", "base");
  const pristine = callsOfUsage(store, "active", ["key", "base"]);
  for (let f = 0; f < 100; f++) for (const d of [3, 77]) write(`${path}/${d}/${f}`, 4 * KIB);
  assertEquals(store.backend.usage(chain), { bytes: 200 * 4 * KIB, inodes: 200 });
  const active = callsOfUsage(store, "active", ["key", "base"]);
  store.backend.freeze(chain, store.chain("committed", "name").layer);
  const committed = callsOfUsage(store, "committed", ["name", "base"]);
  for (const calls of [active, committed]) {
    const more = (call: string) => (calls.get(call) ?? 0) - (pristine.get(call) ?? 0);
    assertEquals(more("getdents64"), 0);
    assert(more("statx") < 10, `${more("statx")} more of statx`);
    // One for each file's inode in the parent, and the pages of the tree's changed part.
    assert(more("ioctl") >= 200 && more("ioctl") < 250, `${more("ioctl")} more of ioctl`);
  }
}, lacksProgram("strace"));
