/**
 * The commands on snapshots as a user runs them.
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { PROGRAM, refusal, TestStore } from "../support/commands.ts";
import { tar } from "../tar/support/tar_builder.ts";
import { lacksFileSystem, mountPoints, must, needs } from "../support/cases.ts";

const lacking = lacksFileSystem("overlay");

interface Mount {
  type: string;
  source: string;
  options: string[];
}

interface Snapshot {
  name: string;
  parent: string;
  kind: string;
  labels: Record<string, string>;
  created: string;
  updated: string;
  layer: string;
}

/** A store with `base` (two files, committed) and `work`, active on it. */
function sample(): TestStore {
  const store = new TestStore();
  fill(store, "base", { "etc/motd": "hello\n", "etc/hosts": "localhost\n" });
  store.must("snapshot", "prepare", "work", "--parent", "base");
  return store;
}

/** Commits a snapshot of some files. */
function fill(store: TestStore, name: string, files: Record<string, string>, parent = ""): void {
  store.must("snapshot", "prepare", `${name}-key`, `--parent=${parent}`);
  const root = store.must("snapshot", "mount", `${name}-key`).trimEnd();
  for (const [path, content] of Object.entries(files)) {
    Deno.mkdirSync(join(root, path, ".."), { recursive: true });
    Deno.writeTextFileSync(join(root, path), content);
  }
  store.must("snapshot", "umount", `${name}-key`);
  store.must("snapshot", "commit", name, `${name}-key`);
}

const names = (store: TestStore, ...filters: string[]) =>
  store.must("snapshot", "ls", "--quiet", ...filters).split("\n").filter(Boolean);

needs(lacking, "snapshot: a life: prepare, mount, change, umount, commit, view, rm", () => {
  using store = sample();
  const root = store.must("snapshot", "mount", "work").trimEnd();
  assertMatch(root, /\/snapshots\/overlay2\/mounts\/[^/]+$/);
  assertEquals(Deno.readTextFileSync(join(root, "etc/motd")), "hello\n");
  Deno.writeTextFileSync(join(root, "etc/motd"), "changed\n");
  Deno.removeSync(join(root, "etc/hosts"));
  store.must("snapshot", "umount", "work");
  assert(!mountPoints(store.root).includes(root));
  store.must("snapshot", "commit", "app", "work");
  assertEquals(names(store), ["app", "base"]);

  store.must("snapshot", "view", "look", "--parent", "app");
  const { path } = store.json<{ path: string }>("snapshot", "mount", "look");
  assertEquals(Deno.readTextFileSync(join(path, "etc/motd")), "changed\n");
  assertEquals([...Deno.readDirSync(join(path, "etc"))].map(({ name }) => name), ["motd"]);
  assertEquals(store.shell(`touch '${path}/x'`).code, 1);
  assertEquals(store.json("snapshot", "umount", "look"), { path });

  store.must("snapshot", "rm", "look", "app", "base");
  assertEquals(store.must("snapshot", "ls"), "KEY/NAME  PARENT  KIND  CREATED\n");
  assertEquals(store.json("snapshot", "ls"), []);
  assertEquals(store.must("snapshot", "tree"), "");
  assertEquals(store.json("snapshot", "usage"), []);
});

needs(lacking, "snapshot: JSON of prepare, view, commit and mounts", () => {
  using store = sample();
  const view = store.json<{ key: string; parent: string; mounts: Mount[] }>(
    "snapshot",
    "view",
    "look",
    "--parent",
    "base",
  );
  assertEquals([view.key, view.parent], ["look", "base"]);
  assertEquals(view.mounts.map(({ type, options }) => [type, options]), [["bind", [
    "ro",
    "rbind",
  ]]]);
  assertEquals(store.json("snapshot", "mounts", "look"), view.mounts);
  const alone = store.json<{ mounts: Mount[] }>("snapshot", "prepare", "alone");
  assertEquals(alone.mounts[0].options, ["rw", "rbind"]);
  const [{ type, options }] = store.json<Mount[]>("snapshot", "mounts", "work");
  assertEquals(type, "overlay");
  assert(options.some((option) => option.startsWith("upperdir=")), `${options}`);
  assertEquals(store.json("snapshot", "commit", "app", "work"), { name: "app", key: "work" });
});

needs(lacking, "snapshot: what mounts DIR and prepare --target print mounts it", () => {
  using store = sample();
  const target = store.path("a target's");
  Deno.mkdirSync(target);
  for (
    const command of [
      "prepare new --parent base --target",
      "mounts new",
      "view look --parent base -t",
      "mounts look",
      "prepare alone -t",
    ]
  ) {
    const { code, stdout, stderr } = store.shell(
      `set -e; line=$(veneer snapshot ${command} "$target"); echo "$line"
       eval "$line"; cat "$target/etc/motd" || true; umount "$target"`,
      { target },
    );
    assertEquals(code, 0, stderr);
    assertMatch(stdout, /^mount -t (overlay|bind) \S+ '.*a target'\\''s' -o \S+\n/);
    assertEquals(stdout.split("\n")[1], command.includes("alone") ? "" : "hello", command);
  }
  const rows = store.must("snapshot", "mounts", "work").split("\n");
  assertMatch(rows[0], /^TYPE +SOURCE +OPTIONS$/);
  assertMatch(rows[1], /^overlay {2}overlay {2}\S*upperdir=\S+$/);
  assertEquals(store.must("snapshot", "prepare", "quiet"), "");
});

needs(lacking, "snapshot: mount at a directory, umount by it", () => {
  using store = sample();
  const target = store.path("mnt");
  Deno.mkdirSync(target);
  Deno.symlinkSync(target, store.path("link"));
  assertEquals(store.must("snapshot", "mount", "work", store.path("link")), `${target}\n`);
  Deno.writeTextFileSync(join(target, "new"), "x");
  assertMatch(
    refusal("in use", store.run("snapshot", "mount", "work", target)),
    /mnt is a mount point; unmount that or name another$/,
  );
  assertMatch(
    refusal("failed precondition", store.run("snapshot", "umount", "work")),
    /^snapshot "work" is not mounted below .*; name the directory where it is mounted$/,
  );
  for (const command of [["commit", "app", "work"], ["rm", "work"]]) {
    assertMatch(
      refusal("in use", store.run("snapshot", ...command)),
      /^snapshot "work": layer \S+ is mounted at \S+\/mnt \(mount namespace \d+, .*\); `umount \S+\/mnt` first$/,
    );
  }
  assertEquals(store.must("snapshot", "umount", target), "");
  assertEquals(mountPoints(target), []);
  assertMatch(
    refusal("failed precondition", store.run("snapshot", "umount", target)),
    /mnt is not a mount point$/,
  );
  assertMatch(
    refusal("invalid argument", store.run("snapshot", "mount", "work", store.path("gone"))),
    /gone: name a directory that exists$/,
  );
  store.must("snapshot", "commit", "app", "work");
});

needs(
  lacking,
  "snapshot: a mount below the store is there once, and in the way of rm and commit",
  () => {
    using store = sample();
    store.must("snapshot", "view", "look", "--parent", "base");
    for (const key of ["work", "look"]) {
      const path = store.must("snapshot", "mount", key).trimEnd();
      const umount = store.hint("snapshot", "umount", key);
      const message = `snapshot "${key}" is mounted at ${path}; ${umount} first`;
      for (const command of [["mount", key], ["rm", key], ["commit", "new", key]]) {
        const ran = store.run("snapshot", ...command);
        if (command[0] === "rm") assertEquals(ran.code, 5);
        assertEquals(refusal("in use", ran), message);
      }
      const busy = store.shell(`cd '${path}' && veneer snapshot umount ${key}`);
      assertMatch(refusal("in use", busy), / is being used by .*; end that and unmount again$/);
      assertEquals(store.must("snapshot", "umount", key), "");
      assertMatch(
        refusal("failed precondition", store.run("snapshot", "umount", key)),
        /is not mounted below/,
      );
      assertEquals([...Deno.readDirSync(join(path, ".."))], [], "the directory is gone");
    }
  },
);

needs(
  lacking,
  "snapshot: cleanup releases the store, and takes down mounts of what is gone",
  () => {
    using store = sample();
    const path = store.must("snapshot", "mount", "work").trimEnd();
    const home = join(path, "../..");
    assertEquals(store.must("snapshot", "cleanup"), "", "a mount that somebody wants stays");
    assert(mountPoints(store.root).includes(path));
    store.must("snapshot", "umount", "work");
    assertEquals(mountPoints(store.root), [], "the last umount gives the store's own mount back");
    // One that was busy then, with an open file, goes with the next cleanup.
    const again = store.must("snapshot", "mount", "work").trimEnd();
    const { code, stderr } = store.shell(
      `exec 9<'${home}/metadata.db' && veneer snapshot umount work`,
    );
    assertEquals({ code, stderr, again }, { code: 0, stderr: "", again: path });
    assertEquals(mountPoints(store.root), [home]);
    assertEquals(store.must("snapshot", "cleanup"), `released ${home}\n`);
    assertEquals(mountPoints(store.root), []);
    assertEquals(store.json("snapshot", "cleanup"), { actions: [] });

    // As a process leaves it that is killed between making the directory and mounting, or after a reboot.
    Deno.mkdirSync(join(home, "mounts/zzzzzzzz"));
    Deno.mkdirSync(path);
    must("mount", "-t", "tmpfs", "none", join(home, "mounts/zzzzzzzz"));
    assertEquals(store.json("snapshot", "cleanup"), {
      actions: [`unmounted ${home}/mounts/zzzzzzzz`],
    });
    assertEquals([...Deno.readDirSync(join(home, "mounts"))], []);
  },
);

needs(lacking, "snapshot: rm goes on past a failure and ends with the first one's status", () => {
  using store = sample();
  store.must("snapshot", "prepare", "other");
  const { code, stdout, stderr } = store.run("snapshot", "rm", "base", "gone", "other", "--json");
  assertEquals([code, JSON.parse(stdout)], [8, { removed: ["other"] }]);
  const errors = stderr.trimEnd().split("\n").map((line) => JSON.parse(line).error.code);
  assertEquals(errors, ["failed precondition", "not found"]);
  store.must("snapshot", "rm", "work", "base");
  assertEquals(names(store), []);
});

needs(lacking, "snapshot: stat and label", () => {
  using store = sample();
  store.must("snapshot", "prepare", "tagged", "--label", "a=1", "--label=b=x=y", "--label", "c=");
  const before = store.json<Snapshot>("snapshot", "stat", "tagged");
  assertEquals(Object.keys(before), [
    "name",
    "parent",
    "kind",
    "labels",
    "created",
    "updated",
    "layer",
  ]);
  assertEquals([before.name, before.parent, before.kind], ["tagged", "", "active"]);
  assertEquals(before.labels, { a: "1", b: "x=y" });
  assertMatch(before.created, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
  assert(Math.abs(Date.parse(before.created) - Date.now()) < 600_000);

  assertEquals(store.must("snapshot", "label", "tagged", "a=2", "b=", "d.e/f=3"), "");
  const { labels, created } = store.json<Snapshot>("snapshot", "stat", "tagged");
  assertEquals([labels, created], [{ a: "2", "d.e/f": "3" }, before.created]);
  const after = store.json<Snapshot>("snapshot", "label", "tagged", "a=");
  assertEquals(after.labels, { "d.e/f": "3" });
  assert(after.updated > before.updated);

  const text = store.must("snapshot", "stat", "tagged");
  assertMatch(text, /^Key: +tagged$/m);
  assertMatch(text, /^Kind: +active$/m);
  assertMatch(text, /^Parent: +none$/m);
  assertMatch(text, /^Created: +\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/m);
  assertMatch(text, /^Label: +d\.e\/f=3$/m);
  assertMatch(store.must("snapshot", "stat", "base"), /^Name: +base\n/);

  store.must("snapshot", "commit", "named", "tagged", "--label", "only=this");
  assertEquals(store.json<Snapshot>("snapshot", "stat", "named").labels, { only: "this" });
});

needs(lacking, "snapshot: ls, its columns and its filters", () => {
  using store = sample();
  store.must("snapshot", "view", "look", "--parent", "base", "--label", "team=blue");
  const rows = store.must("snapshot", "ls").trimEnd().split("\n").map((line) => line.split(/ +/));
  assertEquals(rows[0], ["KEY/NAME", "PARENT", "KIND", "CREATED"]);
  assertEquals(rows.slice(1).map((row) => row.length === 4 ? row.slice(0, 3) : row.slice(0, 2)), [
    ["base", "committed"],
    ["look", "base", "view"],
    ["work", "base", "active"],
  ]);
  assertEquals(names(store, "kind==active"), ["work"]);
  assertEquals(names(store, "kind==active", "kind==view"), ["look", "work"]);
  assertEquals(names(store, "parent==base,labels.team==blue"), ["look"]);
  assertEquals(names(store, "name~=^[bw]"), ["base", "work"]);
  assertEquals(store.must("snapshot", "ls", "-0", "parent==base"), "look\0work\0");
  assertEquals(store.json("snapshot", "ls", "-q", "kind==view"), ["look"]);
  const [look] = store.json<Snapshot[]>("snapshot", "ls", "labels.team");
  assertEquals(look, store.json("snapshot", "stat", "look"));
  assertMatch(store.refused("invalid argument", "snapshot", "ls", "kind=="), /filter/);
});

needs(lacking, "snapshot: tree and usage", () => {
  using store = sample();
  fill(store, "app", { "usr/bin/app": "x".repeat(100_000) }, "base");
  store.must("snapshot", "view", "look", "--parent", "app");
  assertEquals(
    store.must("snapshot", "tree", "--brief"),
    "base\n├─ app\n│  ↳ look  view\n└─ work  active\n",
  );
  const [usage] = store.json<{ name: string; bytes: number; inodes: number }[]>(
    "snapshot",
    "usage",
    "app",
  );
  assert(usage.bytes >= 100_000 && usage.bytes < 200_000, `${usage.bytes}`);
  assertMatch(store.must("snapshot", "tree"), /^base {2}\S+ .?i?B\n├─ app {2}\d+(\.\d+)? KiB\n/);
  const drawn = store.json<(Snapshot & { bytes: number })[]>("snapshot", "tree");
  assertEquals(drawn.map(({ name, bytes }) => [name, bytes === usage.bytes]), [
    ["base", false],
    ["app", true],
    ["look", false],
    ["work", false],
  ]);
  assertEquals(
    store.must("snapshot", "usage", "app", "--bytes"),
    `KEY/NAME  SIZE    INODES\napp       ${usage.bytes}  ${usage.inodes}\n`,
  );
  const all = store.json<{ name: string; inodes: number }[]>("snapshot", "usage");
  assertEquals(all.map(({ name }) => name), ["app", "base", "look", "work"]);
  assertEquals(all[2], { name: "look", bytes: 0, inodes: 0 } as unknown);
});

needs(lacking, "snapshot: columns line up whatever script keys are in", () => {
  using store = sample();
  store.must("snapshot", "prepare", "日本語", "--parent", "base");
  const lines = store.must("snapshot", "ls").split("\n");
  assert(lines.some((line) => line.startsWith("日本語    base    active  ")), `${lines}`);
  assert(lines[0].startsWith("KEY/NAME  PARENT  KIND"), lines[0]);
});

needs(lacking, "snapshot: keys are any text, and a line is always one", () => {
  using store = sample();
  const odd = ["a b/c\td\ne", "-dash", "back\\slash", "sha256:$(touch x)`", "ünï \u{1f600}"];
  for (const key of odd) {
    store.must("snapshot", "prepare", "--parent=base", "--label", "l\n1=v\n2", "--", key);
    assertEquals(store.json<Snapshot>("snapshot", "stat", "--", key).name, key);
  }
  const listed = store.must("snapshot", "ls", "-q").trimEnd().split("\n");
  assertEquals(listed.length, odd.length + 2);
  assert(listed.includes("a b/c\\011d\\012e") && listed.includes("back\\134slash"));
  assertEquals(store.must("snapshot", "ls").trimEnd().split("\n").length, odd.length + 3);
  assertStringIncludes(store.must("snapshot", "tree", "--brief"), "a b/c\\011d\\012e  active\n");
  assertMatch(store.must("snapshot", "stat", odd[0]), /^Label: +l\\0121=v\\0122$/m);
  const { code, stderr } = store.shell(
    `veneer snapshot ls -0 kind==active | while IFS= read -r -d "" key; do
       veneer snapshot rm -- "$key" || exit
     done`,
  );
  assertEquals({ code, stderr }, { code: 0, stderr: "" });
  assertEquals(names(store), ["base"]);
});

needs(
  lacking,
  "snapshot: a unique prefix names one where nothing is made, changed or removed",
  () => {
    using store = sample();
    assertMatch(store.must("snapshot", "stat", "ba"), /^Name: +base$/m);
    assertMatch(store.must("snapshot", "mounts", "wo"), /^overlay /m);
    assertMatch(store.must("snapshot", "usage", "b"), /^base /m);
    const path = store.must("snapshot", "mount", "w").trimEnd();
    assert(mountPoints(store.root).includes(path));
    store.must("snapshot", "umount", "wor");
    store.must("snapshot", "prepare", "worn");
    assertEquals(
      store.refused("invalid argument", "snapshot", "mount", "wo"),
      'snapshot "wo": it could be "work", "worn"; write more of it',
    );
    for (
      const args of [
        ["rm", "ba"],
        ["label", "ba", "a=b"],
        ["commit", "x", "wo"],
        ["prepare", "x", "--parent", "ba"],
        ["stat", "ba", "--json"],
      ]
    ) {
      assertEquals(store.run("snapshot", ...args).code, 3, args.join(" "));
    }
  },
);

needs(lacking, "refused: what containerd refuses, with a line and a status", () => {
  using store = sample();
  store.must("snapshot", "view", "look", "--parent", "base");
  const refused = (...args: Parameters<TestStore["refused"]>) => {
    const [code, ...words] = args;
    return refusal(code, store.run("snapshot", ...words));
  };
  for (const command of ["stat", "mounts", "mount", "umount", "usage", "rm"]) {
    assertStringIncludes(
      refused("not found", command, "gone"),
      `snapshot "gone" does not exist; ${store.hint("snapshot", "ls")} lists`,
    );
  }
  assertMatch(refused("not found", "commit", "x", "gone"), /"gone"/);
  assertMatch(refused("not found", "label", "gone", "a=b"), /"gone"/);
  assertMatch(refused("not found", "prepare", "x", "--parent", "gone"), /"gone"/);
  assertMatch(refused("already exists", "prepare", "work"), /"work"/);
  assertMatch(refused("already exists", "view", "base"), /"base"/);
  assertMatch(refused("already exists", "commit", "base", "work"), /"base"/);
  assertMatch(refused("invalid argument", "prepare", "x", "--parent", "work"), /"work"/);
  assertMatch(refused("invalid argument", "prepare", ""), /it is empty$/);
  assertMatch(refused("invalid argument", "prepare", "x", "--label", "nope"), /KEY=VALUE/);
  assertMatch(refused("invalid argument", "label", "base", "=x"), /KEY=VALUE/);
  assertMatch(refused("failed precondition", "commit", "x", "look"), /view/);
  assertMatch(refused("failed precondition", "commit", "x", "base"), /committed/);
  assertMatch(refused("failed precondition", "mounts", "base"), /is committed: prepare one on it/);
  assertMatch(refused("failed precondition", "mount", "base"), /is committed: prepare one on it/);
  assertMatch(refused("failed precondition", "rm", "base"), /work|look/);
  assertEquals(names(store), ["base", "look", "work"]);
  assertEquals(mountPoints(store.root), [], "no mount is left");
});

needs(lacking, "snapshot: tars are applied, and made of changes", () => {
  using store = sample();
  Deno.writeFileSync(
    store.path("layer.tar"),
    tar({ name: "etc/.wh.hosts" }, { name: "etc/issue", data: "issue\n" }),
  );
  assertEquals(store.must("snapshot", "apply", "work", store.path("layer.tar")), "6\n");
  const changes = "C /etc\nD /etc/hosts\nA /etc/issue\n";
  assertEquals(store.must("snapshot", "changes", "work"), changes);
  store.must("snapshot", "diff", "work", "-o", store.path("work.tar"));
  store.must("snapshot", "prepare", "again", "--parent", "base");
  const { stdout } = store.run("snapshot", "apply", "again", "--json", store.path("work.tar"));
  assertEquals(JSON.parse(stdout), { key: "again", size: 6 });
  store.must("snapshot", "commit", "second", "again");
  assertEquals(store.must("snapshot", "changes", "second"), changes);
  assertEquals(
    store.must("snapshot", "changes", "second", "--parent", ""),
    "A /etc\nA /etc/issue\nA /etc/motd\n",
  );
  assertEquals(
    store.must("snapshot", "changes", "work", "--parent", "second"),
    "",
  );
  const cut = Deno.readFileSync(store.path("layer.tar")).subarray(0, 1030);
  Deno.writeFileSync(store.path("cut.tar"), cut);
  const refused = store.run("snapshot", "apply", "work", store.path("cut.tar"));
  assertMatch(
    refusal("invalid argument", refused),
    /cut short; snapshot "work" is incomplete: apply again or remove it$/,
  );
  assertMatch(store.must("snapshot", "ls", "name==work"), /^work +base +active, incomplete +2/m);
  assertEquals(JSON.parse(store.must("snapshot", "stat", "work", "--json")).incomplete, true);
  assertStringIncludes(
    refusal("failed precondition", store.run("snapshot", "commit", "app", "work")),
    'snapshot "work" is incomplete',
  );
  store.must("snapshot", "rm", "work");
  store.must("snapshot", "prepare", "work", "--parent", "base");
  const piped = must(
    "bash",
    "-c",
    'gzip -c "$1" | "${@:2}"',
    "bash",
    store.path("layer.tar"),
    ...PROGRAM,
    ...store.options,
    "snapshot",
    "apply",
    "work",
  );
  assertEquals(piped, "6\n");
});
