/**
 * Exports with two threads, which must write what one writes.
 *
 * @module
 */
import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { cstring, encode } from "../../ffi/cstring.ts";
import { readListing } from "../../ffi/directory.ts";
import { SyscallError } from "../../ffi/errno.ts";
import { close, O_DIRECTORY, O_RDONLY, open, pipe, withFd } from "../../ffi/files.ts";
import { S_IFIFO, S_IFSOCK } from "../../ffi/names.ts";
import { tryLsetxattr } from "../../ffi/xattr.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import { IDENTITY, IdMap } from "../../lib/base/id_maps.ts";
import { BLOCK } from "../../lib/tar/header.ts";
import { exportTree } from "../../lib/tar/export/export.ts";
import { WORTH_A_WORKER } from "../../lib/tar/export/worker_runs.ts";
import { RunEncoder, RunMemory } from "../../lib/tar/export/export_runs.ts";
import { sleep } from "../../lib/base/sleep.ts";
import { must, tempDir } from "../support/cases.ts";
import { names, settledDescriptors } from "../support/files.ts";
import { until } from "../support/processes.ts";
import { DEFAULTS, everything, treeTar } from "./support/exports.ts";
import { chown, makeNode, put, setTime, withDirectories } from "../support/tree_entries.ts";

/** Enough files that a Worker is started, and then a file in whose writing it has time to start. */
function ballast(root: string): void {
  const directory = `${root}/0 ballast`;
  Deno.mkdirSync(directory, { recursive: true });
  for (let i = 0; i < WORTH_A_WORKER + 64; i++) put(`${directory}/${i}`);
  put(`${root}/1 large`, "x".repeat(LARGE));
}

/** More than the files before it are in a tar. */
const LARGE = 4 << 20;

const hasWorker = () =>
  [...Deno.readDirSync("/proc/self/task")].some(({ name }) =>
    Deno.readTextFileSync(`/proc/self/task/${name}/comm`).startsWith("worker-")
  );

/** Bytes that the process's threads have read, but for the first one (`proc(5)`, `io`). */
function readByOthers(): number {
  let sum = 0;
  for (const { name } of Deno.readDirSync("/proc/self/task")) {
    if (name === String(Deno.pid)) continue;
    const io = Deno.readTextFileSync(`/proc/self/task/${name}/io`);
    sum += Number(/rchar: (\d+)/.exec(io)![1]);
  }
  return sum;
}

/**
 * Progress that waits, once the large file of {@linkcode ballast} is written, until the Worker is there, and then some
 * milliseconds for it to load.
 */
function afterBallast(workers: number, loading = 100): (written: number) => void {
  let waits = workers === 1;
  return (written) => {
    if (!waits || written < LARGE) return;
    waits = false;
    for (let i = 0; i < 1200 && !hasWorker(); i++) sleep(50);
    sleep(loading);
  };
}

/** What a process has open; its descriptors come and go meanwhile. */
function openFiles(pid: number): string[] {
  return names(`/proc/${pid}/fd`).flatMap((name) => {
    try {
      return [Deno.readLinkSync(`/proc/${pid}/fd/${name}`)];
    } catch {
      return [];
    }
  });
}

/** Equality without a diff of megabytes. */
function assertSame([one, two]: { tar: Uint8Array; warnings: string[] }[]): void {
  assertEquals(two.warnings, one.warnings);
  assertEquals(two.tar.length, one.tar.length);
  const differs = two.tar.findIndex((byte, i) => byte !== one.tar[i]);
  assertEquals(differs, -1, `byte ${differs} differs`);
}

Deno.test("worker: 20,000 small files and every kind of entry, the same bytes as without one", () => {
  using dir = tempDir();
  const root = dir.path;
  ballast(root);
  everything(`${root}/everything`);
  for (let d = 0; d < 25; d++) {
    const directory = `${root}/d${d}`;
    Deno.mkdirSync(directory);
    for (let i = 0; i < 800; i++) put(`${directory}/f${i}`, `${d} ${i}\n`.repeat(i % 300));
    // In the middle of runs: names that link to each other and to other directories, and more.
    for (const i of [20, 300, 301]) {
      Deno.linkSync(`${directory}/f${i}`, `${directory}/f${i} linked`);
    }
    Deno.linkSync(`${directory}/f5`, `${root}/d${d}-f5`);
    if (d > 0) Deno.linkSync(`${root}/d0/f400`, `${directory}/f400 linked`);
    // In a run whose end is not far, with the other names right behind it and in none.
    for (let i = 0; i < 30; i++) put(`${directory}/g${i}`, "g");
    Deno.mkdirSync(`${directory}/h`);
    for (const i of [15, 2, 25]) Deno.linkSync(`${directory}/g${i}`, `${directory}/h/linked${i}`);
    put(`${directory}/f50 large`, "z".repeat(200_000 + d));
    for (let i = 0; i < 8; i++) put(`${directory}/f60 middling ${i}`, "m".repeat(100_000));
    tryLsetxattr(`${directory}/f70`, "user.comment", encode("x".repeat(d * 100)));
    chown(`${directory}/f80`, d, 2_500_000);
    Deno.symlinkSync("f0", `${directory}/f90 symlink`);
    makeNode(`${directory}/f95 socket`, S_IFSOCK | 0o600);
    put(`${directory}/.wh.reserved`);
    setTime(`${directory}/f99`, -5, 5);
  }
  const written = (workers: number, loading: number) => {
    const warnings: string[] = [];
    const warn = (message: string) => warnings.push(message);
    const onProgress = afterBallast(workers, loading);
    return { tar: treeTar(root, "overlay", { workers, warn, onProgress }), warnings };
  };
  const alone = written(0, 0);
  // A busy machine may not have loaded the Worker before all is written.
  let read = 0;
  for (let loading = 100; read <= 1 << 20; loading *= 10) {
    assert(loading <= 10_000, "the Worker read nothing");
    const before = readByOthers();
    assertSame([alone, written(1, loading)]);
    read = readByOthers() - before;
  }
  assertEquals(alone.warnings.length, 50);
});

Deno.test("worker: files that go or turn into something else are left out, with the same warnings", () => {
  using dir = tempDir();
  const root = dir.path;
  ballast(root);
  const directory = `${root}/d`;
  const make = () => {
    must("rm", "-rf", directory);
    Deno.mkdirSync(directory);
    put(`${directory}/0 large`, "x".repeat(8 << 20));
    for (let i = 1000; i < 3000; i++) put(`${directory}/f${i}`, `${i}`);
    must("find", directory, "-exec", "touch", "-h", "-d", "@1500000000.5", "{}", "+");
  };
  const change = () => {
    for (const i of [2900, 2901, 2910, 2911, 2999]) Deno.removeSync(`${directory}/f${i}`);
    Deno.symlinkSync("f1000", `${directory}/f2910`);
    makeNode(`${directory}/f2911`, S_IFIFO | 0o600);
    Deno.truncateSync(`${directory}/f2920`);
    setTime(`${directory}/f2920`, 1, 0);
  };
  const changed = [0, 1].map((workers) => {
    make();
    const warnings: string[] = [];
    let done = false;
    const started = afterBallast(workers);
    const tar = treeTar(root, "none", {
      workers,
      warn: (message) => warnings.push(message),
      onProgress(written) {
        started(written);
        if (done || written < 12 << 20) return; // Into the directory's own large file.
        done = true;
        change();
      },
    });
    assert(done);
    return { tar, warnings };
  });
  assertSame(changed);
  const gone = "was removed or replaced while it was read: left out";
  assertEquals(changed[0].warnings, [
    `/d/f2900 ${gone}`,
    `/d/f2901 ${gone}`,
    `/d/f2910 ${gone}`,
    "/d/f2911 was replaced while it was read: left out",
    `/d/f2999 ${gone}`,
  ]);
});

Deno.test("worker: an owner outside the map and an output that fails are the same errors, and nothing stays open", async () => {
  using dir = tempDir();
  ballast(dir.path);
  for (let i = 0; i < 2000; i++) put(`${dir.path}/f${1000 + i}`, "x".repeat(3000));
  chown(`${dir.path}/f2500`, 70_000, 0);
  const before = await settledDescriptors();
  const idMaps = { uids: IdMap.parse(["0:0:65536"]), gids: new IdMap() };
  for (const workers of [0, 1]) {
    const error = assertThrows(
      () => treeTar(dir.path, "none", { workers, idMaps, onProgress: afterBallast(workers) }),
      VeneerError,
    );
    assertEquals(error.code, "invalid argument");
    assertStringIncludes(error.message, "/f2500 belongs to host uid 70000");
    const { readable, writable } = pipe();
    // A reader that takes the ballast and goes away; its end of the pipe is its own.
    const reader = new Deno.Command("head", {
      args: ["-c", String(10 << 20), `/proc/${Deno.pid}/fd/${readable}`],
      stdout: "null",
    }).spawn();
    const ends = Deno.readLinkSync(`/proc/self/fd/${readable}`);
    await until("the reader to have the pipe", () => openFiles(reader.pid).includes(ends));
    close(readable);
    const broken = assertThrows(
      () =>
        withDirectories([dir.path], (fd) =>
          exportTree(fd, writable, "none", {
            ...DEFAULTS,
            workers,
            onProgress: afterBallast(workers),
          })),
      SyscallError,
    );
    assertEquals(broken.code, "EPIPE");
    close(writable);
    await reader.status;
  }
  assertEquals(await settledDescriptors(before), before);
});

Deno.test("runs: what is not plain is left; what does not fit is not offered", () => {
  using dir = tempDir();
  const files = (root: string) =>
    withFd(open(root, O_RDONLY | O_DIRECTORY), (fd) => readListing(fd));
  const encoded = (root: string, path: Uint8Array) => {
    const listing = files(root);
    const run = new RunMemory().runs[3];
    return withFd(open(root, O_RDONLY | O_DIRECTORY), (fd) => {
      if (!run.offer(fd, path, listing, 0, listing.length)) return "not offered";
      assert(run.take());
      assert(!run.take());
      new RunEncoder({ uids: IdMap.parse(["0:0:10"]), gids: IDENTITY.gids }).encode(run);
      assert(run.isDone);
      const names: string[] = [];
      for (let i = 0, end = 0; i < run.count; end = run.end(i++)) {
        if (run.end(i) > end) names.push(listing.names[i]);
        assertEquals(run.end(i) % BLOCK, 0);
      }
      assertEquals(run.isWhole, names.length === run.count);
      return names;
    });
  };
  const root = `${dir.path}/root`;
  Deno.mkdirSync(root);
  put(`${root}/a plain`, "x");
  put(`${root}/b empty`);
  put(`${root}/c linked`);
  Deno.linkSync(`${root}/c linked`, `${dir.path}/other`);
  put(`${root}/d large`, "x".repeat(128 << 10));
  put(`${root}/e alien`);
  chown(`${root}/e alien`, 10, 0);
  Deno.symlinkSync("a", `${root}/f symlink`);
  put(`${root}/g plain`, "y".repeat((128 << 10) - 1));
  assertEquals(encoded(root, cstring("").subarray(0, 0)), ["a plain", "b empty", "g plain"]);
  assertEquals(encoded(root, new Uint8Array(16 << 10).fill(0x61)), "not offered");
  assertEquals(encoded(root, new Uint8Array(20 << 10).fill(0x61)), "not offered");
  // The fourth has no room beside the others, the fifth has.
  const crowded = `${dir.path}/crowded`;
  Deno.mkdirSync(crowded);
  for (const name of ["1", "2", "3", "4"]) put(`${crowded}/${name}`, "x".repeat(127 << 10));
  put(`${crowded}/5`, "x".repeat(6 << 10));
  assertEquals(encoded(crowded, new Uint8Array(0)), ["1", "2", "3", "5"]);
  // sysfs files have less in them than their size says.
  const sys = encoded("/sys/kernel/mm/transparent_hugepage", new Uint8Array(0));
  assertEquals(sys, []);
});
