/** The kernel's stream of changes within its limits, and what takes its place beyond them. */
// @runs on btrfs
import { assert, assertEquals, assertThrows } from "@std/assert";
import { boundedSend, SEND_LIMITS, type SendLimits } from "../../../drivers/btrfs/bounded_send.ts";
import { FileNames } from "../../../drivers/btrfs/file_names.ts";
import { nativeDiff } from "../../../drivers/btrfs/native_diff.ts";
import { SendStreamError } from "../../../drivers/btrfs/send_stream.ts";
import {
  createSnapshot,
  subvolumeInfo,
  tryDestroySubvolume,
} from "../../../ffi/btrfs_subvolume.ts";
import { encode } from "../../../ffi/cstring.ts";
import { entryName } from "../../../ffi/entry_name.ts";
import {
  close,
  O_CREAT,
  O_DIRECTORY,
  O_RDONLY,
  O_WRONLY,
  open,
  openat,
  withFd,
  writeAll,
} from "../../../ffi/files.ts";
import { mkdirat } from "../../../ffi/names.ts";
import { nativeDelta, treeDelta } from "../../../lib/tar/export/delta.ts";
import { storeCase, type TestStore } from "./support.ts";
import { lines } from "../../support/trees.ts";

const LONG = Deno.env.has("VENEER_TEST_LONG");

/** A pipe that holds hardly a stream: the least that the kernel makes. */
const NARROW: SendLimits = { ...SEND_LIMITS, pipe: 4096 };
/** A pipe that holds any stream here. */
const WIDE: SendLimits = { ...SEND_LIMITS, pipe: 1 << 20 };

/** Directories below each other, the innermost with a file: their path may be longer than the kernel takes. */
function makeDeep(at: string, depth: number): void {
  const name = entryName("a");
  let fd = openDirectory(at);
  for (let i = 0; i < depth; i++) {
    mkdirat(fd, name, 0o755);
    const below = openat(fd, name, O_RDONLY | O_DIRECTORY);
    close(fd);
    fd = below;
  }
  withFd(openat(fd, entryName("f"), O_WRONLY | O_CREAT, 0o644), (file) => {
    writeAll(file, encode("deep\n"));
  });
  close(fd);
}

const openDirectory = (path: string) => open(path, O_RDONLY | O_DIRECTORY);

/** Runs `use` with read-only snapshots of two layers, which it must leave free to be removed. */
function withSnapshots(
  store: TestStore,
  use: (child: number, parent: bigint) => void,
): void {
  const backend = store.backend();
  const names = ["parent", "child"].map((id) => entryName(id));
  withFd(openDirectory(store.root), (root) => {
    for (const id of ["parent", "child"]) {
      withFd(
        openDirectory(backend.mountPoint(id)),
        (layer) => createSnapshot(root, entryName(id), layer, { readOnly: true }),
      );
    }
    withFd(openDirectory(`${store.root}/parent`), (parent) => {
      withFd(openDirectory(`${store.root}/child`), (child) => use(child, subvolumeInfo(parent).id));
    });
    for (const name of names) assertEquals(tryDestroySubvolume(root, name), 0);
  });
}

function makeLayers(store: TestStore, fill: (child: string) => void): void {
  const driver = store.driver();
  driver.create("parent");
  driver.create("child", { parent: "parent" });
  fill(store.backend().mountPoint("child"));
}

/** How many ends of pipes are open. */
const openPipes = () =>
  [...Deno.readDirSync("/proc/self/fd")].filter(({ name }) => {
    try {
      return Deno.readLinkSync(`/proc/self/fd/${name}`).startsWith("pipe:");
    } catch {
      return false; // What listed them.
    }
  }).length;

const later = () => performance.now() + 30_000;

storeCase("a stream that the pipe does not hold is read beside its making", (store) => {
  makeLayers(store, (child) => {
    for (let i = 0; i < 300; i++) Deno.writeTextFileSync(`${child}/${i}`, "");
  });
  withSnapshots(store, (child, parent) => {
    const whole = [...boundedSend(child, parent, later(), WIDE)];
    assert(whole.length > 1000, `only ${whole.length} commands`);
    assertEquals([...boundedSend(child, parent, later(), NARROW)], whole);
  });
});

storeCase("a stream that nobody reads to its end is ended", (store) => {
  makeLayers(store, (child) => {
    for (let i = 0; i < 10_000; i++) Deno.mkdirSync(`${child}/${i}`);
  });
  const ROUNDS = 10, before = openPipes();
  for (let round = 0; round < ROUNDS; round++) {
    // The snapshots are free afterwards, which the kernel denies as long as it makes the stream.
    withSnapshots(store, (child, parent) => {
      for (const _ of boundedSend(child, parent, later(), NARROW)) break;
    });
  }
  // A Worker's own are closed some time after its end.
  assert(openPipes() < before + ROUNDS, `${before} ends of pipes became ${openPipes()}`);
});

storeCase("a stream that takes too long is given up", (store) => {
  makeLayers(store, (child) => makeDeep(child, 400));
  withSnapshots(store, (child, parent) => {
    const started = performance.now();
    const stream = boundedSend(child, parent, started + 100, NARROW);
    const error = assertThrows(() => [...stream]);
    assert(error instanceof SendStreamError, String(error));
    // All of it takes more than a second.
    assert(performance.now() - started < 500, `${performance.now() - started} ms`);
  });
});

storeCase("the trees are compared where the stream is given up", (store) => {
  makeLayers(store, (child) => makeDeep(child, 300));
  const backend = store.backend();
  const changesWithin = (limits: SendLimits) =>
    withFd(
      openDirectory(backend.mountPoint("parent")),
      (parent) =>
        withFd(openDirectory(backend.mountPoint("child")), (child) => {
          const native = nativeDiff(child, parent, () => backend.home.staging(".case"), limits);
          try {
            return lines(nativeDelta(native!).changes());
          } finally {
            backend.dispose(".case");
          }
        }),
    );
  const expected = lines(
    treeDelta(backend.mountPoint("child"), backend.mountPoint("parent")).changes(),
  );
  assertEquals(expected.length, 301);
  assertEquals(changesWithin({ ...WIDE, time: 60_000 }), expected);
  assertEquals(changesWithin({ ...NARROW, time: 20 }), expected);
});

storeCase("names of one file in many directories count on the stream's time", (store) => {
  makeLayers(store, (child) => {
    Deno.writeTextFileSync(`${child}/a`, "");
    Deno.mkdirSync(`${child}/far`);
    Deno.linkSync(`${child}/a`, `${child}/far/b`);
  });
  withFd(openDirectory(store.backend().mountPoint("child")), (child) => {
    const all = ["/a", "/far/b"];
    using names = new FileNames(child, later()), others = new FileNames(child, later());
    assertEquals(names.of("/a", true).sort(), all);
    // By the other name, after an entry of another directory.
    assertEquals(others.of("/far", false), []);
    assertEquals(others.of("/far/b", false).sort(), all);
    assertEquals(others.of("/a", true).sort(), all);
    using late = new FileNames(child, 0);
    assertThrows(() => late.of("/a", true), SendStreamError);
  });
});

const DEPTH = LONG ? 10_000 : 2_500;

storeCase(`${DEPTH} directories inside each other take seconds`, (store) => {
  const driver = store.driver();
  driver.create("parent");
  driver.create("child", { parent: "parent" });
  makeDeep(store.backend().mountPoint("child"), DEPTH);
  const started = performance.now();
  // The file's own path is longer than the kernel takes one.
  assertEquals(driver.diffSize("child", undefined), "deep\n".length);
  let count = 0;
  for (const { kind } of driver.changes("child", undefined)) count += kind === "A" ? 1 : 0;
  assertEquals(count, DEPTH + 1);
  // The kernel's stream would take 90 s for 2000 of them, and four times that for twice as many.
  const seconds = (performance.now() - started) / 1000;
  assert(seconds < 20, `it took ${seconds} s`);
  driver.remove("child");
});
