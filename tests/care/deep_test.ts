/** `check --deep`: content against the record of the apply. */
// @runs on ext4
// @runs long on xfs
import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { S_IFIFO } from "../../ffi/names.ts";
import type { GraphDriver } from "../../lib/graph/driver.ts";
import { DRIVERS } from "../../drivers/names.ts";
import { type Checked, checkStore } from "../../lib/care/check.ts";
import { parseContent } from "../../lib/care/content_record.ts";
import { IS_LONG, lacksFileSystem, must, needs, tempDir } from "../support/cases.ts";
import { openDriver } from "../support/drivers.ts";
import { isThere } from "../support/files.ts";
import { randomOf } from "../support/random.ts";
import { TestStore } from "../support/commands.ts";
import { makeNode } from "../support/tree_entries.ts";
import { layersOf } from "../drivers/same_tree/layers.ts";
import { flavourOf } from "../drivers/same_tree/suite.ts";
import { partsOf } from "../drivers/same_tree/tars.ts";
import { tar } from "../tar/support/tar_builder.ts";
import { hostileTars, sampleOf } from "../tar/hostile/mod.ts";
import { assertFound } from "./support.ts";

const lacking = lacksFileSystem("overlay");

const { loadChecks } = DRIVERS.find(({ name }) => name === "overlay2")!;
const checks = await loadChecks!();

function deepCheck(root: string): Checked {
  return checkStore({ root, driver: "overlay2", of: "layers", checks, deep: true }, 0)!;
}

function open(root: string, record = "sizes"): GraphDriver {
  return openDriver({ root, driver: "overlay2", options: [`record=${record}`], warn: () => {} });
}

function applied(layers: GraphDriver, id: string, bytes: Uint8Array, scratch: string): void {
  const path = join(scratch, "layer.tar");
  Deno.writeFileSync(path, bytes);
  layers.applyDiff(id, undefined, path);
}

/** What is done to the files of a layer below its mount, and what is found. */
const TAMPERINGS: Readonly<Record<string, [damage: (diff: string) => void, found: string]>> = {
  emptied: [(diff) => Deno.truncateSync(join(diff, "etc/passwd")), "content-emptied etc/passwd"],
  shortened: [
    (diff) => Deno.truncateSync(join(diff, "etc/passwd"), 3),
    "content-shortened etc/passwd",
  ],
  grown: [
    (diff) => Deno.writeTextFileSync(join(diff, "etc/passwd"), "more", { append: true }),
    "content-grown etc/passwd",
  ],
  "written over": [
    (diff) => Deno.writeTextFileSync(join(diff, "etc/passwd"), "ROOT\n"),
    "content-touched etc/passwd",
  ],
  removed: [(diff) => Deno.removeSync(join(diff, "etc/passwd")), "content-missing etc/passwd"],
  added: [
    (diff) => Deno.writeTextFileSync(join(diff, "etc/shadow"), ""),
    "content-added etc/shadow",
  ],
  "of another mode": [
    (diff) => Deno.chmodSync(join(diff, "etc/passwd"), 0o666),
    "content-mode etc/passwd",
  ],
  "of another owner": [
    (diff) => Deno.chownSync(join(diff, "etc/passwd"), 7, 7),
    "content-owner etc/passwd",
  ],
  "a directory's mode": [(diff) => Deno.chmodSync(join(diff, "etc"), 0o777), "content-mode etc"],
  "replaced by a directory": [
    (diff) => {
      Deno.removeSync(join(diff, "etc/passwd"));
      Deno.mkdirSync(join(diff, "etc/passwd"));
    },
    "content-type etc/passwd",
  ],
  "replaced by a fifo": [
    (diff) => {
      Deno.removeSync(join(diff, "etc/passwd"));
      must("mkfifo", join(diff, "etc/passwd"));
    },
    "content-type etc/passwd",
  ],
  "a second name removed": [
    (diff) => Deno.removeSync(join(diff, "etc/other")),
    "content-missing etc/other",
  ],
  "a link replaced": [
    (diff) => {
      Deno.removeSync(join(diff, "sh"));
      Deno.writeTextFileSync(join(diff, "sh"), "");
    },
    "content-type sh",
  ],
};

const TREE = tar(
  { name: "etc/", type: "5", mode: 0o755 },
  { name: "etc/passwd", data: "root\n", mtime: 1_000_000_000 },
  { name: "etc/other", type: "1", link: "etc/passwd" },
  { name: "sh", type: "2", link: "bin/sh" },
  { name: "implied/file", data: "x" },
);

needs(lacking, "check: deep: changes below a layer are told apart", async (t) => {
  using dir = tempDir();
  const root = join(dir.path, "root"), diff = join(root, "overlay2/app/diff");
  {
    using layers = open(root);
    layers.create("app");
    applied(layers, "app", TREE, dir.path);
    layers.create("child", { parent: "app" });
    // A layer with children is mounted read-only: its record holds.
    layers.get("app");
    layers.put("app");
  }
  const whole = deepCheck(root);
  assertFound(whole, []);
  assertEquals(whole.untold, 1, "of the child");
  const aside = join(dir.path, "aside");
  must("cp", "-a", diff, aside);
  for (const [name, [damage, found]] of Object.entries(TAMPERINGS)) {
    await t.step(name, () => {
      damage(diff);
      const [kind, path] = found.split(" ");
      assertFound(deepCheck(root), [`${kind} app/diff/${path}`], ["app", "child"]);
      must("rm", "-rf", diff);
      must("cp", "-a", aside, diff);
      // A new directory's times are no damage.
      assertFound(deepCheck(root), []);
    });
  }
});

needs(lacking, "check: deep: a record ends with whatever may change its layer", () => {
  using dir = tempDir();
  const root = join(dir.path, "root");
  const record = (id: string) => join(root, "overlay2/.veneer/content", id);
  using layers = open(root);
  const make = (id: string) => {
    layers.create(id);
    applied(layers, id, TREE, dir.path);
    assert(isThere(record(id)));
  };
  make("read");
  layers.get("read", { readOnly: true });
  layers.put("read");
  assert(isThere(record("read")));
  make("mounted");
  Deno.writeTextFileSync(join(layers.get("mounted"), "new"), "");
  layers.put("mounted");
  assert(!isThere(record("mounted")));
  make("handed");
  layers.mounts("handed");
  assert(!isThere(record("handed")));
  make("again");
  applied(layers, "again", tar({ name: "more", data: "x" }), dir.path);
  assert(!isThere(record("again")));
  make("removed");
  layers.remove("removed");
  assert(!isThere(record("removed")));
  assertFound(deepCheck(root), []);
  // A failed apply leaves none.
  layers.create("failed");
  try {
    applied(layers, "failed", TREE.slice(0, 1500), dir.path);
  } catch { /* it is cut short */ }
  assert(!isThere(record("failed")) && !isThere(`${record("failed")}.veneer-new`));
});

needs(lacking, "check: deep: damaged records are found, and never believed", () => {
  using dir = tempDir();
  const root = join(dir.path, "root"), record = join(root, "overlay2/.veneer/content/app");
  {
    using layers = open(root, "hash");
    layers.create("app");
    applied(layers, "app", TREE, dir.path);
  }
  const bytes = Deno.readFileSync(record);
  const kinds = (content: Uint8Array) => {
    Deno.writeFileSync(record, content);
    return deepCheck(root).findings.map(({ kind }) => kind);
  };
  assertEquals(kinds(bytes), []);
  for (let length = 0; length < bytes.length; length += 7) {
    assertEquals(kinds(bytes.slice(0, length)), ["content-record-invalid"], `${length} bytes`);
  }
  const random = randomOf(1);
  for (let i = 0; i < 50; i++) {
    const flipped = bytes.slice();
    flipped[8 + random(bytes.length - 8)] ^= 1 << random(8);
    assertEquals(kinds(flipped), ["content-record-invalid"]);
  }
  const future = bytes.slice();
  future[7] = "2".charCodeAt(0);
  assertEquals(kinds(future), ["content-record-future"]);
  // Lengths that lie, with a right sum: parsed without a fault of ours.
  const { crc32 } = process.getBuiltinModule("node:zlib");
  for (let i = 0; i < 2000; i++) {
    const mutant = bytes.slice();
    for (let n = random(4); n >= 0; n--) mutant[8 + random(bytes.length - 12)] = random(256);
    const end = mutant.length - 4;
    new DataView(mutant.buffer).setUint32(end, crc32(mutant.subarray(0, end)), true);
    parseContent(mutant);
  }
  const replacements = [
    () => Deno.mkdirSync(record),
    () => Deno.symlinkSync("/etc/passwd", record),
    () => makeNode(record, S_IFIFO | 0o600),
  ];
  for (const replace of replacements) {
    Deno.removeSync(record);
    replace();
    assertEquals(
      deepCheck(root).findings.map(({ kind, what }) => `${kind}: ${what}`),
      ["content-record-not-a-file: is not a file"],
    );
  }
});

needs(lacking, "check: deep: no false alarm of generated layers and of hostile tars", () => {
  using dir = tempDir();
  const root = join(dir.path, "root");
  using layers = open(root, "hash");
  let whole = 0;
  for (let seed = 1; seed <= (IS_LONG ? 100 : 4); seed++) {
    const chain = layersOf(seed, flavourOf(seed));
    for (const [i, steps] of chain.entries()) {
      const id = `s${seed}-${i}`;
      layers.create(id, { parent: i === 0 ? undefined : `s${seed}-${i - 1}` });
      applied(layers, id, tar(...partsOf(steps)), dir.path);
      whole++;
    }
  }
  const all = [...hostileTars(1, 100)];
  for (const [i, { bytes }] of (IS_LONG ? all : sampleOf(all, 150)).entries()) {
    layers.create(`h${i}`);
    try {
      applied(layers, `h${i}`, bytes, dir.path);
      whole++;
    } catch {
      layers.remove(`h${i}`);
    }
  }
  const checked = deepCheck(root);
  assertFound(checked, []);
  assertEquals([checked.count, checked.untold], [whole, 0]);
  assert(whole > 50, `${whole} layers`);
});

needs(lacking, "cli: check --deep says which content it cannot tell", () => {
  using store = new TestStore("--driver", "overlay2");
  const file = store.tar("a.tar", { "etc/passwd": "root\n" });
  store.must("create", "plain");
  store.must("-o", "record=none", "apply", "plain", file);
  store.must("create", "noted");
  // Sizes are recorded by default.
  store.must("apply", "noted", file);
  assertEquals(
    store.must("check", "--deep"),
    "2 layers of overlay2: no damage; the content of 1 cannot be told, without a record\n",
  );
  Deno.truncateSync(join(store.root, "overlay2/noted/diff/etc/passwd"));
  assertEquals(store.run("check").code, 0);
  assertEquals(store.run("check", "--deep").code, 12);
  assertEquals(store.run("check", "--deep", "--quick").code, 2);
});
