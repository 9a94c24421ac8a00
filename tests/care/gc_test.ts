/** `gc`: what nothing needs is listed, and deleted if it is asked for; all else stays. */
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { lacksFileSystem, must, needs } from "../support/cases.ts";
import { refusal, TestStore } from "../support/commands.ts";
import { isThere } from "../support/files.ts";

const lacking = lacksFileSystem("overlay");

interface Listed {
  readonly orphans: readonly {
    kind: string;
    layer: string | null;
    file: string;
    bytes: number;
    age: number;
    deletable: boolean;
    deleted: boolean;
  }[];
}

/** The orphans as `KIND FILE`, the file below the store's root. */
const listed = (store: TestStore, { orphans }: Listed) =>
  orphans.map(({ kind, file }) => `${kind} ${file.slice(store.root.length + 1)}`).sort();

needs(lacking, "cli: gc lists what no layer has, and deletes it", () => {
  using store = new TestStore("--driver", "overlay2");
  const home = join(store.root, "overlay2");
  store.must("create", "base");
  store.must("create", "app", "--parent", "base");
  assertEquals(store.must("gc"), "no orphans\n");
  assertEquals(store.must("gc", "--delete"), "no orphans\n");
  // At work, or a cleanup's: nothing of it is listed.
  const half = join(home, ".veneer/staging/half");
  Deno.mkdirSync(half);
  Deno.writeTextFileSync(join(half, "link"), "HALFMADE");
  Deno.symlinkSync("../half/diff", join(home, "l/HALFMADE"));
  Deno.writeTextFileSync(join(home, ".veneer/incomplete/half"), "");
  Deno.writeTextFileSync(join(home, ".veneer/incomplete/app"), "");
  assertEquals(store.json<Listed>("gc").orphans, []);
  Deno.symlinkSync("../gone/diff", join(home, "l/NOBODYS"));
  Deno.symlinkSync("../app/diff", join(home, "l/SECOND"));
  Deno.writeTextFileSync(join(home, ".veneer/id-maps/gone"), "0:1:10\n0:1:10");
  Deno.writeTextFileSync(join(home, ".veneer/incomplete/gone"), "");
  const aside = `.veneer/parents.damaged-${crypto.randomUUID()}`;
  Deno.mkdirSync(join(home, aside));
  Deno.writeFileSync(join(home, aside, "kept"), new Uint8Array(1 << 20).fill(1));
  const all = [
    `moved-aside overlay2/${aside}`,
    "own-record overlay2/.veneer/id-maps/gone",
    "own-record overlay2/.veneer/incomplete/gone",
    "short-link overlay2/l/NOBODYS",
    "short-link overlay2/l/SECOND",
  ];
  const before = store.json<Listed>("gc");
  assertEquals(listed(store, before), all);
  assertEquals(before.orphans.some(({ deleted }) => deleted), false);
  const [{ bytes }] = before.orphans.filter(({ kind }) => kind === "moved-aside");
  assertEquals(Math.round(bytes / (1 << 20)), 1);
  assertMatch(store.must("gc"), /^`veneer .*gc --delete` deletes 5, 1(\.\d+)? MiB$/m);
  assertEquals(listed(store, store.json<Listed>("gc")), all, "a list changes nothing");
  const after = store.json<Listed>("gc", "--delete");
  assertEquals(after.orphans.map(({ deleted }) => deleted), all.map(() => true));
  assertEquals(store.must("gc"), "no orphans\n");
  assertEquals(store.run("check").code, 0);
  assertEquals(store.must("ls", "-q"), "app\nbase\n");
});

needs(lacking, "cli: gc leaves the records of layers that are all elsewhere", () => {
  using store = new TestStore("--driver", "overlay2");
  const home = join(store.root, "overlay2"), layer = join(home, "base");
  store.must("create", "base");
  const record = ".veneer/id-maps/base";
  Deno.writeTextFileSync(join(home, record), "0:1:10\n0:1:10");
  Deno.renameSync(layer, store.path("base"));
  assertEquals(
    listed(store, store.json<Listed>("gc")).filter((line) => line.startsWith("own-record")),
    [`own-record overlay2/${record}`],
  );
  store.must("gc", "--delete");
  assertEquals(isThere(join(home, record)), true);
  assertMatch(store.must("gc"), /; bring the layers back if they are elsewhere/);
  // With another layer, this one alone is gone.
  store.must("create", "other");
  store.must("gc", "--delete");
  assertEquals(isThere(join(home, record)), false);
});

needs(lacking, "cli: gc finds the layers that Docker's records do not know", () => {
  using store = new TestStore("--driver", "overlay2");
  const hex = (digit: string) => digit.repeat(64);
  const [base, app, box, lost, above, mine] = [..."abcde", "mine"].map((id) =>
    id.length === 1 ? hex(id) : id
  );
  store.must("create", base);
  store.must("create", app, "--parent", base);
  store.must("create", box, "--parent", app);
  store.must("create", lost, "--parent", base);
  store.must("create", above, "--parent", lost);
  store.must("create", mine, "--parent", base);
  assertEquals(store.must("gc"), "no orphans\n", "no record of Docker's");
  const record = (path: string, text: string) => {
    const file = join(store.root, "image/overlay2/layerdb", path);
    must("mkdir", "-p", join(file, ".."));
    Deno.writeTextFileSync(file, text);
  };
  record(`sha256/${hex("1")}/cache-id`, base);
  record(`sha256/${hex("2")}/cache-id`, app);
  record("mounts/box/mount-id", box);
  record("mounts/dead/mount-id", hex("f"));
  const found = [
    `docker-layer overlay2/${lost}`,
    `docker-layer overlay2/${above}`,
    "docker-record image/overlay2/layerdb/mounts/dead/mount-id",
  ];
  assertEquals(listed(store, store.json<Listed>("gc")), found);
  // It could be the record of any layer.
  record(`sha256/${hex("3")}/cache-id`, "");
  assertEquals(listed(store, store.json<Listed>("gc")), found.slice(2));
  record(`sha256/${hex("3")}/cache-id`, app);
  // Docker follows a link and sees a mount, where its records are not examined.
  const records = join(store.root, "image/overlay2/layerdb/sha256");
  Deno.renameSync(records, store.path("moved"));
  Deno.symlinkSync(store.path("moved"), records);
  assertEquals(listed(store, store.json<Listed>("gc")), found.slice(2));
  assertMatch(store.run("check").stdout, /^docker-records-unreadable: .*layerdb\/sha256 /m);
  Deno.removeSync(records);
  Deno.mkdirSync(records);
  must("mount", "--bind", store.path("moved"), records);
  try {
    assertEquals(listed(store, store.json<Listed>("gc")), found.slice(2));
    assertMatch(store.run("check").stdout, /^docker-records-hidden: .*layerdb\/sha256 /m);
  } finally {
    must("umount", records);
  }
  Deno.removeSync(records);
  Deno.renameSync(store.path("moved"), records);
  // One that is mounted stays, and so does the one below it.
  store.must("mount", above);
  const used = store.run("gc", "--delete");
  assertEquals(used.code, 5);
  assertStringIncludes(used.stderr, above);
  assertEquals([lost, above].map((id) => isThere(join(store.root, "overlay2", id))), [true, true]);
  store.must("umount", above);
  assertMatch(store.must("gc", "--delete"), /^2 deleted, /m);
  assertEquals(store.must("ls", "-q").trim().split("\n"), [base, app, box, mine]);
  assertEquals(listed(store, store.json<Listed>("gc")), found.slice(2));
  // A user's own layer may have such an id: it has a record of its apply, and is not deleted.
  store.must("create", lost, "--parent", base);
  store.must("create", above, "--parent", lost);
  store.must("apply", above, store.tar("a.tar", { file: "text" }));
  assertEquals(listed(store, store.json<Listed>("gc")), [
    `docker-layer overlay2/${above}`,
    found[2],
  ]);
  assertMatch(
    store.must("gc"),
    /and Veneer has a record of it; a command may have made it for you/,
  );
  store.must("gc", "--delete");
  assertEquals(store.must("ls", "-q").trim().split("\n"), [base, app, box, lost, above, mine]);
});

needs(lacking, "cli: gc lists snapshots without a layer and leaves the rest to cleanup", () => {
  using store = new TestStore("--driver", "overlay2");
  store.must("snapshot", "prepare", "work");
  store.must("snapshot", "prepare", "other");
  const [{ layer }] = store.json<{ name: string; layer: string }[]>("snapshot", "ls")
    .filter(({ name }) => name === "work");
  const layers = join(store.root, "snapshots/overlay2/snapshots");
  Deno.renameSync(join(layers, layer), join(layers, "unknown"));
  const [orphan, ...more] = store.json<Listed>("gc", "--delete").orphans;
  assertEquals(more, []);
  assertEquals([orphan.kind, orphan.layer, orphan.deletable], ["snapshot", "work", false]);
  store.must("snapshot", "cleanup");
  assertEquals(isThere(join(layers, "unknown")), false);
  assertMatch(refusal("not found", store.run("gc", "--service", "none")), /service none/);
});
