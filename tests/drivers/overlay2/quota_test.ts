/** Limits of overlay2's layers by project quota: on xfs with pquota and ext4 with prjquota. */
// @runs on guest ext4, guest xfs
import { assert, assertEquals, assertThrows } from "@std/assert";
import { openDriver } from "../../support/drivers.ts";
import { O_DIRECTORY, O_RDONLY, open, withFd } from "../../../ffi/files.ts";
import { projectId, projectUsage } from "../../../ffi/quota.ts";
import type { GraphDriver } from "../../../lib/graph/driver.ts";
import { IDENTITY } from "../../../lib/base/id_maps.ts";
import { quotaLacking } from "../../../drivers/overlay2/project_quota.ts";
import { apply, fill } from "../../support/layers.ts";
import { tarOf } from "../../support/trees.ts";
import { storeDir } from "../../support/store_dir.ts";
import { lacksFileSystem, must, needs, TEST_FS } from "../../support/cases.ts";
import { assertFails } from "../../support/errors.ts";

const lacking = lacksFileSystem("overlay") ??
  quotaLacking(Deno.env.get("VENEER_TEST_DIR") ?? "/tmp");

const MIB = 1 << 20;

function store(root: string, options: string[] = []): GraphDriver {
  return openDriver({ root, driver: "overlay2", options, idMaps: IDENTITY, warn: () => {} });
}

function test(
  name: string,
  body: (root: string, scratch: string) => void,
  lacks = lacking,
): void {
  needs(lacks, `overlay2 quota: ${name}`, () => {
    using dir = storeDir();
    Deno.mkdirSync(`${dir.path}/scratch`);
    body(`${dir.path}/root`, `${dir.path}/scratch`);
  });
}

function readWrite(driver: GraphDriver, id: string, limits: Record<string, string>): void {
  driver.createReadWrite(id, {
    parent: "base",
    storageOptions: new Map(Object.entries(limits)),
  });
}

const project = (path: string) => withFd(open(path, O_RDONLY | O_DIRECTORY), (fd) => projectId(fd));
const limitsOf = (path: string, id: number) =>
  withFd(open(path, O_RDONLY | O_DIRECTORY), (fd) => {
    const { bytes, inodes } = projectUsage({ fd }, id);
    return { bytes, inodes };
  });

function writes(driver: GraphDriver, id: string, use: (root: string) => void): void {
  const root = driver.get(id);
  try {
    use(root);
  } finally {
    driver.put(id);
  }
}

test("a size is kept to, by new files and by copies of the parent's", (root) => {
  const driver = store(root);
  fill(driver, "base", (root) => Deno.writeFileSync(`${root}/below`, new Uint8Array(6 * MIB)));
  readWrite(driver, "limited", { size: "8M" });
  writes(driver, "limited", (root) => {
    Deno.writeFileSync(`${root}/fits`, new Uint8Array(5 * MIB));
    assertThrows(() => Deno.writeTextFileSync(`${root}/below`, "x", { append: true }));
    assertThrows(() => Deno.writeFileSync(`${root}/more`, new Uint8Array(4 * MIB)));
    Deno.removeSync(`${root}/fits`);
    Deno.removeSync(`${root}/more`);
    Deno.writeTextFileSync(`${root}/below`, "x", { append: true });
  });
  assertEquals(driver.getMetadata("limited").get("Size"), String(8 * MIB));
});

test("the disk usage of a limited layer is what its project counts", (root) => {
  const driver = store(root);
  fill(driver, "base", (root) => Deno.writeFileSync(`${root}/below`, new Uint8Array(4 * MIB)));
  readWrite(driver, "limited", { size: "20M" });
  writes(driver, "limited", (root) => {
    Deno.writeFileSync(`${root}/own`, new Uint8Array(2 * MIB));
  });
  const layer = `${driver.home}/limited`;
  const { usedBytes } = withFd(
    open(layer, O_RDONLY | O_DIRECTORY),
    (fd) => projectUsage({ fd }, project(layer)),
  );
  assertEquals(driver.diskUsage("limited"), usedBytes);
  assert(2 * MIB <= usedBytes && usedBytes < 3 * MIB, `${usedBytes}`);
});

test("a number of inodes is kept to", (root) => {
  const driver = store(root);
  driver.create("base");
  readWrite(driver, "limited", { inodes: "50" });
  writes(driver, "limited", (root) => {
    const made = (() => {
      for (let i = 0; i < 100; i++) {
        try {
          Deno.writeTextFileSync(`${root}/${i}`, "");
        } catch {
          return i;
        }
      }
      return 100;
    })();
    assert(made > 30 && made <= 50, `${made} files`);
  });
  assertEquals(driver.getMetadata("limited").get("Inodes"), "50");
});

test("each layer has a project of its own, which all that is in it inherits", (root) => {
  const driver = store(root);
  driver.create("base");
  readWrite(driver, "a", { size: "1G" });
  readWrite(driver, "b", { size: "1G", inodes: "1000" });
  driver.createReadWrite("free", { parent: "base" });
  const at = (part: string) => `${driver.home}/${part}`;
  const [a, b] = ["a", "b"].map((id) => project(at(id)));
  assert(a > 0 && b === a + 1, `${a} ${b}`);
  for (const part of ["diff", "work"]) assertEquals(project(at(`a/${part}`)), a);
  assertEquals(["base", "free", "free/diff"].map((part) => project(at(part))), [0, 0, 0]);
  assertEquals(limitsOf(at("b"), b), { bytes: 1 << 30, inodes: 1000 });
  writes(driver, "a", (root) => {
    Deno.mkdirSync(`${root}/one/two`, { recursive: true });
    // Through overlay's work directory: it must be of the same project, or renames fail.
    Deno.renameSync(`${root}/one`, `${root}/renamed`);
    Deno.writeTextFileSync(`${root}/renamed/file`, "");
    Deno.removeSync(`${root}/renamed`, { recursive: true });
    Deno.mkdirSync(`${root}/left`);
  });
  assertEquals(project(at("a/diff/left")), a);
});

test("limits go with the layer, and an id is not shared with one being deleted", (root) => {
  const driver = store(root);
  driver.create("base");
  readWrite(driver, "a", { size: "1G" });
  const id = project(`${driver.home}/a`);
  driver.remove("a");
  assertEquals(limitsOf(driver.home, id), { bytes: 0, inodes: 0 });
  readWrite(driver, "b", { size: "2G" });
  assertEquals(project(`${driver.home}/b`), id);
  assertEquals(limitsOf(driver.home, id), { bytes: 2 << 30 >>> 0, inodes: 0 });
  // As if a process had been killed while it deleted the layer.
  Deno.renameSync(`${driver.home}/b`, `${driver.home}/.veneer/staging/b`);
  readWrite(driver, "c", { size: "3M" });
  assertEquals(project(`${driver.home}/c`), id + 1);
  store(root);
  assertEquals(limitsOf(driver.home, id), { bytes: 0, inodes: 0 });
  assertEquals(limitsOf(driver.home, id + 1), { bytes: 3 * MIB, inodes: 0 });
});

test("the default is for read-write layers that say nothing else", (root) => {
  const driver = store(root, ["Overlay2.SIZE=16M", "overlay2.inodes=500"]);
  driver.create("base");
  driver.createReadWrite("default", { parent: "base" });
  readWrite(driver, "own", { size: "32M" });
  readWrite(driver, "none", { size: "0", inodes: "0" });
  const limits = (id: string) => {
    const metadata = driver.getMetadata(id);
    return [metadata.get("Size"), metadata.get("Inodes")];
  };
  assertEquals(limits("base"), [undefined, undefined]);
  assertEquals(limits("default"), [String(16 * MIB), "500"]);
  assertEquals(limits("own"), [String(32 * MIB), "500"]);
  assertEquals(limits("none"), [undefined, undefined]);
  driver.create("layer", { parent: "base" });
  assertEquals(limits("layer"), [undefined, undefined]);
});

test(
  "a tar that does not fit is a limit, and the layer keeps it when it starts over",
  (root, scratch) => {
    const driver = store(root);
    driver.create("base");
    readWrite(driver, "limited", { size: "4M" });
    Deno.mkdirSync(`${scratch}/big`);
    Deno.writeFileSync(`${scratch}/big/file`, new Uint8Array(6 * MIB).fill(1));
    const error = assertFails(
      "limit exceeded",
      () => apply(driver, "limited", tarOf(`${scratch}/big`, `${scratch}/big.tar`)),
    );
    assert(error.message.includes("incomplete"), error.message);
    assert(driver.layer("limited").incomplete);
    Deno.truncateSync(`${scratch}/big/file`, 2 * MIB);
    apply(driver, "limited", tarOf(`${scratch}/big`, `${scratch}/small.tar`));
    assertEquals(driver.getMetadata("limited").get("Size"), String(4 * MIB));
    writes(driver, "limited", (root) => {
      assertThrows(() => Deno.writeFileSync(`${root}/more`, new Uint8Array(3 * MIB)));
    });
  },
  lacking ?? (TEST_FS.startsWith("ext4") ? "ext4 does not hold root to limits" : undefined),
);

test("layers that are not read-write have no limits", (root) => {
  const driver = store(root);
  const error = assertFails(
    "invalid argument",
    () => driver.create("x", { storageOptions: new Map([["size", "1G"]]) }),
  );
  assertEquals(error.remedy, { kind: "create read-write" });
});

test("a home that passes on a project of its own is said", (root) => {
  const driver = store(root);
  driver.create("base");
  must("chattr", "-p", "77", driver.home);
  readWrite(driver, "above", { size: "1G" });
  assertEquals(project(`${driver.home}/above`), 78);
  must("chattr", "+P", driver.home);
  const error = assertFails("not supported", () => readWrite(driver, "x", { size: "1G" }));
  assert(error.message.includes("chattr -P"), error.message);
});
