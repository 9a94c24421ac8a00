/**
 * Applying from streams, and with two threads, which must do what one does.
 *
 * @module
 */
import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { close, memfd, O_DIRECTORY, O_RDONLY, open, pipe, pwriteAll } from "../../ffi/files.ts";
import { SyscallError } from "../../ffi/errno.ts";
import { IdMap } from "../../lib/base/id_maps.ts";
import { applyTar } from "../../lib/tar/apply/apply.ts";
import { IDENTITY } from "../../lib/base/id_maps.ts";
import { WORTH_A_WORKER } from "../../lib/tar/apply/worker_jobs.ts";
import {
  bytes,
  concat,
  dir,
  file,
  hardlink,
  symlink,
  tar,
  type TarEntry,
} from "./support/tar_builder.ts";
import { makeTempDir, run, Sandbox } from "./support/tar_layers.ts";
import { names, settledDescriptors } from "../support/files.ts";

type Part = TarEntry | Uint8Array;

// Streams, and two threads.

Deno.test("apply: from a pipe, whose writer is read to its end and beyond the marker", async () => {
  using sandbox = new Sandbox();
  const large = Uint8Array.from({ length: 3_000_000 }, (_, i) => i % 251);
  const archive = concat([
    tar(dir("d"), file("d/large", large), file("d/small", "x")),
    new Uint8Array(1 << 20),
  ]);
  const path = `${sandbox.top}/archive`;
  Deno.writeFileSync(path, archive);
  const fifo = `${sandbox.top}/fifo`;
  run("mkfifo", fifo);
  const writer = new Deno.Command("sh", { args: ["-c", `cat ${path} > ${fifo}`] }).spawn();
  const input = open(fifo, O_RDONLY), directory = open(sandbox.root, O_RDONLY | O_DIRECTORY);
  const progress: number[] = [];
  applyTar(input, directory, {
    whiteouts: "none",
    idMaps: IDENTITY,
    onProgress: (bytes) => progress.push(bytes),
  });
  close(input);
  close(directory);
  assertEquals((await writer.status).success, true);
  assertEquals(Deno.readFileSync(`${sandbox.root}/d/large`), large);
  assertEquals(progress.at(-1), archive.length);
});

Deno.test("apply: from the middle of a file, whose position is where the tar starts", () => {
  using sandbox = new Sandbox();
  const path = `${sandbox.top}/archive`;
  Deno.writeFileSync(
    path,
    concat([bytes("12345"), tar(file("f", "x".repeat(200_000)), file("g", "y"))]),
  );
  using archive = Deno.openSync(path);
  archive.seekSync(5, Deno.SeekMode.Start);
  const input = open("/dev/null", O_RDONLY);
  close(input);
  const fds = names("/proc/self/fd");
  const fd = fds.map(Number).find((n) => {
    try {
      return Deno.readLinkSync(`/proc/self/fd/${n}`) === Deno.realPathSync(path);
    } catch {
      return false;
    }
  })!;
  const directory = open(sandbox.root, O_RDONLY | O_DIRECTORY);
  applyTar(fd, directory, { whiteouts: "none", idMaps: IDENTITY });
  close(directory);
  assertEquals(sandbox.tree({ attributes: false }), ["f file <200000 bytes>", 'g file "y"']);
});

/** Enough data behind the marker that a Worker is worth its start; it is never read. */
const BALLAST = new Uint8Array(WORTH_A_WORKER);

/** Applies with a Worker that does get files, and with none, and compares. */
function assertSameWithWorker(parts: readonly Part[], form: "none" | "overlay" | "aufs" = "none") {
  // A large first file gives the Worker time to start.
  const archive = tar(file("ballast", BALLAST), dir("spread"), ...parts);
  const trees = [0, 1].map((workers) => {
    using sandbox = new Sandbox();
    const applied = sandbox.apply(archive, { workers, whiteouts: form });
    sandbox.assertContained();
    return { applied, tree: sandbox.tree({ times: true, links: true }) };
  });
  assertEquals(trees[1], trees[0]);
  return trees[1].tree;
}

/** Directories full of files, so that there is always something in flight. */
function crowd(prefix: string, directories: number, files: number): Part[] {
  return Array.from({ length: directories }, (_, i) => [
    dir(`${prefix}${i}`, { mode: 0o750 }),
    ...Array.from(
      { length: files },
      (_, j) => file(`${prefix}${i}/f${j}`, `${prefix} ${i} ${j}`, { mtime: 1e9 + j, uid: j }),
    ),
  ]).flat();
}

Deno.test("worker: many directories, the same tree as without one", () => {
  const tree = assertSameWithWorker([
    ...crowd("a", 40, 30),
    ...crowd("b", 1, 1500),
    // More directories in flight than are kept open.
    ...crowd("c", 400, 1),
  ]);
  assertEquals(tree.length, 2 + 40 * 31 + 1501 + 400 * 2);
});

Deno.test("worker: what is hard linked, replaced, whited out or removed while it is in flight", () => {
  const twists: Part[] = [];
  for (let i = 0; i < 15; i++) {
    const d = `t${i}`;
    twists.push(
      ...crowd(`t${i}-crowd`, 1, 40),
      dir(d),
      file(`${d}/first`, "1"),
      hardlink(`${d}/first`, `${d}/linked`),
      file(`${d}/twice`, "old"),
      file(`${d}/twice`, "new"),
      file(`${d}/to-link`, "old"),
      symlink("first", `${d}/to-link`),
      file(`${d}/to-link`, "not through the link"),
      file(`${d}/to-dir`, "old"),
      dir(`${d}/to-dir`),
      file(`${d}/to-dir/inside`, "x"),
      dir(`${d}/to-file`),
      file(`${d}/to-file/gone`, "x"),
      file(`${d}/to-file`, "file"),
      file(`${d}/hidden`, "kept: of this tar"),
      file(`${d}/.wh.hidden`, ""),
      file(`${d}/.wh.later`, ""),
      file(`${d}/later`, "kept: of this tar"),
      dir(`${d}/tree`),
      ...Array.from({ length: 20 }, (_, j) => file(`${d}/tree/f${j}`, "x")),
      symlink("first", `${d}/tree`),
      dir(`${d}/late`, { mode: 0o755 }),
      file(`${d}/late/a`, "x"),
      dir(`${d}/late`, { mode: 0o2700, gid: 9 }),
      file(`${d}/late/b`, "x"),
    );
  }
  for (const form of ["none", "overlay", "aufs"] as const) assertSameWithWorker(twists, form);
});

Deno.test("worker: an error in it reaches the caller as the same error", () => {
  const uids = new IdMap([{ container: 0, host: 0, size: 100 }]);
  const parts = [file("ballast", BALLAST), ...crowd("a", 100, 20)];
  parts.push(dir("last"), file("last/alien", "x", { uid: 500 }), ...crowd("b", 3, 20));
  for (const workers of [0, 1]) {
    using sandbox = new Sandbox();
    const idMaps = { uids, gids: uids };
    assertStringIncludes(
      sandbox.refuse(tar(...parts), { workers, idMaps }),
      "its user id 500 is not in the store's id map",
    );
  }
});

Deno.test("worker: a truncated file is refused like without one, and no descriptor is left open", async () => {
  const archive = tar(file("ballast", BALLAST), ...crowd("a", 100, 20));
  const before = await settledDescriptors();
  for (const workers of [0, 1]) {
    using sandbox = new Sandbox();
    const message = sandbox.refuse(archive.slice(0, archive.length - 30_000), { workers });
    assertStringIncludes(message, "cut short");
  }
  assertEquals(await settledDescriptors(before), before);
});

Deno.test("apply: a full file system names the entry and has the code of a limit", () => {
  const top = makeTempDir();
  run("mount", "-t", "tmpfs", "-o", "size=256k", "none", top);
  try {
    const directory = open(top, O_RDONLY | O_DIRECTORY);
    const input = memfd("tar");
    pwriteAll(input, tar(file("a", "x"), file("too-large", new Uint8Array(1 << 20))), 0n);
    const error = assertThrows(
      () => applyTar(input, directory, { whiteouts: "none", idMaps: IDENTITY }),
      SyscallError,
      "too-large",
    );
    assertEquals(error.code, "ENOSPC");
    close(input);
    close(directory);
  } finally {
    run("umount", top);
    Deno.removeSync(top);
  }
});

Deno.test("apply: leaves the process's umask and descriptors as they were", async () => {
  const before = await settledDescriptors(), mask = Deno.umask();
  using sandbox = new Sandbox();
  sandbox.apply(tar(...crowd("a", 100, 2)));
  assertEquals(await settledDescriptors(before), before);
  assertEquals(Deno.umask(), mask);
  const { readable, writable } = pipe();
  close(readable);
  close(writable);
});
