/** The btrfs driver's changes, found by its trees' blocks, are what the comparison of the layers says. */
// @runs on btrfs
import { assert, assertEquals } from "@std/assert";
import { O_DIRECTORY, O_RDONLY, open, withFd } from "../../../ffi/files.ts";
import { close, lseek, memfd, pread, SEEK_END } from "../../../ffi/files.ts";
import { compareTrees } from "../../../lib/tree/compare.ts";
import type { LayerBackend } from "../../../lib/graph/backend.ts";
import { type Delta, nativeDelta, treeDelta } from "../../../lib/tar/export/delta.ts";
import { IDENTITY } from "../../../lib/base/id_maps.ts";
import * as btrfs from "../../../drivers/btrfs/driver.ts";
import { IS_LONG, needs, tempDir } from "../../support/cases.ts";
import { lacking } from "./support.ts";
import { operate } from "./operations.ts";
import { describeTree, lines, modelChanges } from "../../support/trees.ts";
import { randomOf } from "../../support/random.ts";

const TREES = IS_LONG ? 2000 : 100;
const FIRST_SEED = Number(Deno.env.get("VENEER_TEST_SEED") ?? 1);

const spec = (parent?: string) => ({
  parent,
  readWrite: true,
  mountLabel: undefined,
  storageOptions: new Map<string, string>(),
});

function openBackend(root: string): LayerBackend {
  return btrfs.open({ root, options: new Map(), idMaps: IDENTITY, warn: () => {} });
}

/** A layer's changes by the search, in the time of `use`. */
function withNativeDelta<T>(backend: LayerBackend, id: string, use: (delta: Delta) => T): T {
  const scratch = ".case";
  const native = backend.nativeDiff(id, () => scratch);
  try {
    assert(native?.kind === "listed", "the search can be used");
    return use(nativeDelta(native));
  } finally {
    backend.dispose(scratch);
  }
}

function tarBytes(delta: Delta): Uint8Array {
  const fd = memfd("tar");
  try {
    delta.export(fd, { idMaps: IDENTITY });
    const bytes = new Uint8Array(Number(lseek(fd, 0n, SEEK_END)));
    for (let at = 0; at < bytes.length;) {
      at += pread(fd, bytes.subarray(at), bytes.length - at, BigInt(at));
    }
    return bytes;
  } finally {
    close(fd);
  }
}

needs(
  lacking,
  `btrfs: ${TREES} random trees have the changes and the tar that comparing has`,
  () => {
    using dir = tempDir();
    const backend = openBackend(dir.path);
    const layer = (id: string) => backend.mountPoint(id);
    let changed = 0;
    for (let seed = FIRST_SEED; seed < FIRST_SEED + TREES; seed++) {
      const pick = randomOf(seed);
      const [parent, child] = [`parent-${seed}`, `child-${seed}`];
      backend.create(parent, spec());
      operate(layer(parent), pick, 10 + pick(60));
      backend.create(child, spec(parent));
      operate(layer(child), pick, pick(40));
      withNativeDelta(backend, child, (native) => {
        const oracle = treeDelta(layer(child), layer(parent));
        const expected = lines(oracle.changes());
        changed += expected.length;
        assertEquals(lines(native.changes()), expected, `seed ${seed}`);
        assertEquals(tarBytes(native), tarBytes(oracle), `seed ${seed}, tar`);
      });
      for (const id of [child, parent]) {
        backend.retire(id);
        backend.dispose(id);
      }
    }
    assert(changed > 5 * TREES, `only ${changed} changes in all`);
    backend.release();
  },
);

/** What is done to a child, and the changes by name; every one also holds the search to the trees. */
const CASES: Record<string, {
  readonly parent: (root: string) => void;
  readonly child: (root: string) => void;
  readonly changes: string[];
}> = {
  "a directory moved with its content": {
    parent: (root) => {
      Deno.mkdirSync(`${root}/old/below`, { recursive: true });
      Deno.writeTextFileSync(`${root}/old/below/file`, "");
    },
    child: (root) => Deno.renameSync(`${root}/old`, `${root}/new`),
    changes: ["A /new", "A /new/below", "A /new/below/file", "D /old"],
  },
  "directories that swap names": {
    parent: (root) => {
      for (const name of ["one", "two"]) {
        Deno.mkdirSync(`${root}/${name}`);
        Deno.writeTextFileSync(`${root}/${name}/in ${name}`, "");
        Deno.writeTextFileSync(`${root}/${name}/both`, name);
      }
    },
    child: (root) => {
      Deno.renameSync(`${root}/one`, `${root}/x`);
      Deno.renameSync(`${root}/two`, `${root}/one`);
      Deno.renameSync(`${root}/x`, `${root}/two`);
    },
    changes: [
      "C /one",
      "C /one/both",
      "D /one/in one",
      "A /one/in two",
      "C /two",
      "C /two/both",
      "A /two/in one",
      "D /two/in two",
    ],
  },
  "a file changed by one of its names is changed by all": {
    parent: (root) => {
      Deno.mkdirSync(`${root}/far/away`, { recursive: true });
      Deno.writeTextFileSync(`${root}/a`, "a");
      Deno.linkSync(`${root}/a`, `${root}/far/away/b`);
      for (let i = 0; i < 400; i++) {
        Deno.linkSync(`${root}/a`, `${root}/far/${"n".repeat(200)}${i}`);
      }
    },
    child: (root) => {
      for (let i = 0; i < 400; i++) Deno.removeSync(`${root}/far/${"n".repeat(200)}${i}`);
      Deno.chmodSync(`${root}/a`, 0o600);
    },
    changes: [
      "C /a",
      "C /far",
      "C /far/away",
      "C /far/away/b",
      ...Array.from({ length: 400 }, (_, i) => `D /far/${"n".repeat(200)}${i}`).sort(),
    ],
  },
  "one more name changes nothing of the others": {
    parent: (root) => Deno.writeTextFileSync(`${root}/a`, "a"),
    child: (root) => Deno.linkSync(`${root}/a`, `${root}/b`),
    changes: ["A /b"],
  },
  "an entry of another type": {
    parent: (root) => {
      Deno.mkdirSync(`${root}/directory/below`, { recursive: true });
      Deno.writeTextFileSync(`${root}/file`, "");
    },
    child: (root) => {
      Deno.removeSync(`${root}/directory`, { recursive: true });
      Deno.writeTextFileSync(`${root}/directory`, "");
      Deno.removeSync(`${root}/file`);
      Deno.mkdirSync(`${root}/file/below`, { recursive: true });
    },
    changes: ["C /directory", "C /file", "A /file/below"],
  },
  "made and removed again": {
    parent: (root) => Deno.mkdirSync(`${root}/directory`),
    child: (root) => {
      Deno.writeTextFileSync(`${root}/directory/file`, "");
      Deno.removeSync(`${root}/directory/file`);
    },
    changes: [],
  },
  "a change in a directory that was moved there and back": {
    parent: (root) => {
      Deno.mkdirSync(`${root}/d/e`, { recursive: true });
      Deno.writeTextFileSync(`${root}/d/e/f`, "before");
    },
    child: (root) => {
      Deno.renameSync(`${root}/d`, `${root}/aside`);
      Deno.writeTextFileSync(`${root}/aside/e/f`, "after");
      Deno.renameSync(`${root}/aside`, `${root}/d`);
    },
    changes: ["C /d", "C /d/e", "C /d/e/f"],
  },
  "the inside of a directory becomes its outside": {
    parent: (root) => {
      Deno.mkdirSync(`${root}/out/in`, { recursive: true });
      Deno.writeTextFileSync(`${root}/out/in/deep`, "");
      Deno.writeTextFileSync(`${root}/out/flat`, "");
    },
    child: (root) => {
      Deno.renameSync(`${root}/out/in`, `${root}/x`);
      Deno.renameSync(`${root}/out`, `${root}/x/in`);
      Deno.renameSync(`${root}/x`, `${root}/out`);
    },
    changes: [
      "C /out",
      "A /out/deep",
      "D /out/flat",
      "C /out/in",
      "D /out/in/deep",
      "A /out/in/flat",
    ],
  },
};

for (const [name, { parent, child, changes }] of Object.entries(CASES)) {
  needs(lacking, `btrfs changes: ${name}`, () => {
    using dir = tempDir();
    const backend = openBackend(dir.path);
    backend.create("parent", spec());
    parent(backend.mountPoint("parent"));
    backend.create("child", spec("parent"));
    child(backend.mountPoint("child"));
    withNativeDelta(backend, "child", (delta) => assertEquals(lines(delta.changes()), changes));
    const trees = ["parent", "child"].map((id) => describeTree(backend.mountPoint(id)));
    assertEquals(modelChanges(trees[0], trees[1]), changes);
  });
}

needs(lacking, "btrfs: what is not proven to descend is compared", () => {
  using dir = tempDir();
  const backend = openBackend(dir.path);
  const isNative = (id: string) => {
    const native = backend.nativeDiff(id, () => ".case");
    backend.dispose(".case");
    return native !== undefined;
  };
  backend.create("parent", spec());
  Deno.writeTextFileSync(`${backend.mountPoint("parent")}/f`, "");
  backend.create("child", spec("parent"));
  assert(!isNative("parent"), "a base layer has no parent");
  assert(isNative("child"));
  // The record says so, the kernel does not.
  backend.create("stranger", spec());
  backend.home.recordParent("stranger", "parent");
  assert(!isNative("stranger"));
  // The parent was read and changed.
  Deno.utimeSync(`${backend.mountPoint("parent")}/f`, 1, 1);
  Deno.writeTextFileSync(`${backend.mountPoint("parent")}/f`, "changed below the child");
  withNativeDelta(backend, "child", (delta) => assertEquals(lines(delta.changes()), ["C /f"]));
  // Both get an inode of one number in one transaction, which are two files for all that.
  for (const id of ["parent", "child"]) {
    Deno.writeTextFileSync(`${backend.mountPoint(id)}/new in ${id}`, id);
  }
  withFd(open(backend.mountPoint("parent"), O_RDONLY | O_DIRECTORY), (parent) => {
    withFd(open(backend.mountPoint("child"), O_RDONLY | O_DIRECTORY), (child) => {
      const expected = ["C /f", "A /new in child", "D /new in parent"];
      assertEquals(lines(compareTrees(parent, child)), expected);
      withNativeDelta(backend, "child", (delta) => assertEquals(lines(delta.changes()), expected));
    });
  });
});
