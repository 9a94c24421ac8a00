/** The search for changed inodes: its limit, deep trees, and changes of the parent. */
// @runs on btrfs
import { IS_LONG } from "../../support/cases.ts";
import { assert, assertEquals } from "@std/assert";
import { suspectsOf } from "../../../drivers/btrfs/changed_inodes.ts";
import { nativeDiff } from "../../../drivers/btrfs/native_diff.ts";
import { subvolumeInfo } from "../../../ffi/btrfs_subvolume.ts";
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
import { cpuTime, limitHere } from "../../support/cpu_time.ts";

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

function makeLayers(store: TestStore, fill: (child: string) => void): void {
  const driver = store.driver();
  driver.create("parent");
  driver.create("child", { parent: "parent" });
  fill(store.backend().mountPoint("child"));
}

/** The changes of the child, at most `limit` of them by the search, and by comparing the trees. */
function changesOf(store: TestStore, limit?: number): [found: string[], expected: string[]] {
  const backend = store.backend(),
    [parent, child] = ["parent", "child"].map((id) => backend.mountPoint(id));
  const scratch = () => backend.home.staging(".case"),
    parentPath = backend.home.join("subvolumes", "parent");
  const found = withFd(openDirectory(parent), (parent) =>
    withFd(openDirectory(child), (child) => {
      const native = nativeDiff(child, parent, parentPath, scratch, limit);
      try {
        return lines(nativeDelta(native!).changes());
      } finally {
        backend.dispose(".case");
      }
    }));
  return [found, lines(treeDelta(child, parent).changes())];
}

storeCase("beyond the limit of marks the trees are compared", (store) => {
  makeLayers(store, (child) => {
    for (let i = 0; i < 300; i++) Deno.writeTextFileSync(`${child}/${i}`, "");
  });
  const [found, expected] = changesOf(store);
  assertEquals(found, expected);
  assertEquals(expected.length, 300);
  const [compared] = changesOf(store, 299);
  assertEquals(compared, expected);
  const backend = store.backend();
  withFd(
    openDirectory(backend.mountPoint("parent")),
    (parent) =>
      withFd(openDirectory(backend.mountPoint("child")), (child) => {
        const { created } = subvolumeInfo(child);
        assertEquals(suspectsOf(parent, child, created, 299), undefined);
        // Each name, and the root.
        assertEquals(suspectsOf(parent, child, created)?.root.below.size, 300);
      }),
  );
});

storeCase("a file of many names in deep directories takes no longer for their paths", (store) => {
  const driver = store.driver(), backend = store.backend();
  driver.create("parent");
  const root = backend.mountPoint("parent");
  makeDeep(root, 400);
  Deno.writeTextFileSync(`${root}/f`, "before");
  let way = root;
  for (let i = 0; i < 400; i++) {
    way += "/a";
    Deno.linkSync(`${root}/f`, `${way}/name`);
  }
  driver.create("child", { parent: "parent" });
  Deno.writeTextFileSync(`${backend.mountPoint("child")}/f`, "after");
  const [found, expected] = changesOf(store);
  assertEquals(found, expected);
  assertEquals(expected.filter((line) => line.endsWith("/name")).length, 400);
});

storeCase("changes of the parent since count as well", (store) => {
  const driver = store.driver(), backend = store.backend();
  driver.create("parent");
  const root = backend.mountPoint("parent");
  for (const name of ["changed", "gone", "moved", "same size"]) {
    Deno.mkdirSync(`${root}/${name}`);
    Deno.writeTextFileSync(`${root}/${name}/file`, "before");
  }
  driver.create("child", { parent: "parent" });
  Deno.writeTextFileSync(`${root}/changed/file`, "after all");
  Deno.removeSync(`${root}/gone`, { recursive: true });
  Deno.renameSync(`${root}/moved`, `${root}/elsewhere`);
  Deno.writeTextFileSync(`${root}/new`, "");
  const { mtime } = Deno.statSync(`${root}/same size/file`);
  Deno.writeTextFileSync(`${root}/same size/file`, "afters");
  Deno.utimeSync(`${root}/same size/file`, mtime!, mtime!);
  Deno.utimeSync(`${backend.mountPoint("child")}/same size/file`, mtime!, mtime!);
  const [found, expected] = changesOf(store);
  assertEquals(found, expected);
  assertEquals(expected, [
    "C /changed",
    "C /changed/file",
    "D /elsewhere",
    "A /gone",
    "A /gone/file",
    "A /moved",
    "A /moved/file",
    "D /new",
    "C /same size",
    "C /same size/file",
  ]);
});

storeCase("a directory with names that came, went and were replaced", (store) => {
  const driver = store.driver(), backend = store.backend();
  driver.create("parent");
  const root = backend.mountPoint("parent");
  for (let i = 0; i < 50; i++) Deno.writeTextFileSync(`${root}/${i}`, "x".repeat(i));
  driver.create("child", { parent: "parent" });
  const child = backend.mountPoint("child");
  // As long as the names that are removed.
  for (const [gone, come] of [["10", "aa"], ["11", "bb"], ["7", "c"]]) {
    Deno.removeSync(`${child}/${gone}`);
    Deno.writeTextFileSync(`${child}/${come}`, "");
  }
  // The same file again, as an installer writes it.
  Deno.writeTextFileSync(`${child}/t`, "x".repeat(20));
  const { mtime } = Deno.statSync(`${child}/20`);
  Deno.utimeSync(`${child}/t`, mtime!, mtime!);
  Deno.renameSync(`${child}/t`, `${child}/20`);
  const [found, expected] = changesOf(store);
  assertEquals(found, expected);
  assertEquals(expected.filter((line) => line.startsWith("D")), ["D /10", "D /11", "D /7"]);
});

storeCase(
  "data is compared if size and time are the same, by its place on disk or its bytes",
  (store) => {
    const driver = store.driver(), backend = store.backend();
    driver.create("parent");
    const root = backend.mountPoint("parent"), content = new Uint8Array(300_000).fill(7);
    for (const name of ["mode there and back", "other bytes", "same bytes", "hole"]) {
      Deno.writeFileSync(`${root}/${name}`, content);
      Deno.utimeSync(`${root}/${name}`, 1e9, 1e9);
    }
    driver.create("child", { parent: "parent" });
    const child = backend.mountPoint("child");
    Deno.chmodSync(`${child}/mode there and back`, 0o700);
    Deno.chmodSync(`${child}/mode there and back`, 0o644);
    Deno.writeFileSync(`${child}/same bytes`, content);
    for (const name of ["other bytes", "hole"]) {
      Deno.writeFileSync(`${child}/${name}`, content.fill(name === "hole" ? 0 : 8, 4096, 8192));
    }
    for (const { name } of Deno.readDirSync(child)) Deno.utimeSync(`${child}/${name}`, 1e9, 1e9);
    const [found, expected] = changesOf(store);
    assertEquals(found, expected);
    assertEquals(expected, ["C /hole", "C /other bytes"]);
  },
);

const DEPTH = IS_LONG ? 10_000 : 2_500;

storeCase(`${DEPTH} directories inside each other take seconds`, (store) => {
  const driver = store.driver();
  driver.create("parent");
  driver.create("child", { parent: "parent" });
  makeDeep(store.backend().mountPoint("child"), DEPTH);
  const started = cpuTime();
  // The file's own path is longer than the kernel takes one.
  assertEquals(driver.diffSize("child", undefined), "deep\n".length);
  let count = 0;
  for (const { kind } of driver.changes("child", undefined)) count += kind === "A" ? 1 : 0;
  assertEquals(count, DEPTH + 1);
  // The kernel's own list of changes (`btrfs send`) would take 90 s for 2000 of them.
  const seconds = (cpuTime() - started) / 1000;
  assert(seconds < limitHere(20), `it took ${seconds} s`);
  driver.remove("child");
});
