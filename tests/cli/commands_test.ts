/**
 * Each command as a user runs it.
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { PROGRAM, TestStore, veneer } from "../support/commands.ts";
import { lacksFileSystem, mountPoints, must, needs, run } from "../support/cases.ts";

const lacking = lacksFileSystem("overlay");

interface Layer {
  id: string;
  parent: string | null;
  incomplete: boolean;
  references: number;
  mountPoint: string | null;
}

/** A store with `base` (two files) and `app` on it, which changed one, deleted one and added one. */
function sample(): TestStore {
  const store = new TestStore();
  store.must("create", "base");
  const tar = store.tar("base.tar", {
    "etc/hosts": "localhost\n",
    "etc/motd": "hello\n",
    "bin/sh": "#!",
  });
  store.must("apply", "base", tar);
  store.must("create", "app", "--parent", "base");
  const root = store.must("mount", "app").trimEnd();
  Deno.writeTextFileSync(join(root, "etc/hosts"), "changed\n");
  Deno.removeSync(join(root, "etc/motd"));
  Deno.writeTextFileSync(join(root, "new"), "12345");
  store.must("umount", "app");
  return store;
}

needs(
  lacking,
  "cli: a layer's life: create, apply, mount, change, changes, diff, apply again, rm",
  () => {
    using store = sample();
    assertEquals(store.must("changes", "app"), "C /etc\nC /etc/hosts\nD /etc/motd\nA /new\n");
    assertEquals(store.must("diffsize", "app"), "13\n");

    const tar = store.path("app.tar");
    assertEquals(store.must("diff", "app", "-o", tar), "");
    const names = must("tar", "-tf", tar).trim().split("\n").sort();
    assertEquals(names.map((name) => name.replace(/\/$/, "")), [
      "etc",
      "etc/.wh.motd",
      "etc/hosts",
      "new",
    ]);

    store.must("create", "copy", "--parent", "base");
    assertEquals(store.must("apply", "copy", tar), "13\n");
    assertEquals(store.must("changes", "copy"), store.must("changes", "app"));

    store.must("rm", "copy", "app", "base");
    assertEquals(store.must("ls", "--quiet"), "");
  },
);

needs(lacking, "cli: apply reads standard input, plain and gzip", () => {
  using store = new TestStore();
  const tar = store.tar("a.tar", { "a": "12345678", "b": "1" });
  for (const [id, command] of [["plain", "cat"], ["packed", "gzip -c"], ["dash", "cat"]]) {
    store.must("create", id);
    const { code, stdout } = store.shell(
      `${command} '${tar}' | veneer apply ${id} ${id === "dash" ? "-" : ""}`,
    );
    assertEquals({ code, stdout }, { code: 0, stdout: "9\n" });
    assertEquals(store.must("changes", id), "A /a\nA /b\n");
  }
});

needs(lacking, "cli: create on a parent, and what stands in ls, ls --json and ls --quiet", () => {
  using store = new TestStore();
  store.must("create", "gone");
  store.must("rm", "gone");
  assertEquals(store.must("ls"), "ID  PARENT  STATE  USES  CREATED  MOUNTED AT\n");
  assertEquals(store.must("ls", "--json"), "[]\n");
  store.must("create", "b");
  assertEquals(store.json("create", "a", "--parent", "b", "--read-write"), {
    id: "a",
    parent: "b",
  });
  const path = store.must("mount", "a").trimEnd();
  assertEquals(store.must("ls", "-q"), "a\nb\n");
  const rows = store.must("ls").trimEnd().split("\n").map((line) => line.split(/  +/));
  const [a, b] = store.json<(Layer & { created: string })[]>("ls");
  const shown = ({ created }: { created: string }) => created.replace(/\.\d+/, "");
  assertEquals(rows, [
    ["ID", "PARENT", "STATE", "USES", "CREATED", "MOUNTED AT"],
    ["a", "b", "mounted", "1", shown(a), path],
    ["b", "ready", "0", shown(b)],
  ]);
  const { created } = a;
  assertEquals(a, {
    id: "a",
    parent: "b",
    incomplete: false,
    references: 1,
    mountPoint: path,
    created,
  });
  assertEquals([b.parent, b.references, b.mountPoint], ["", 0, null]);
  store.must("umount", "a");
});

needs(lacking, "cli: mounts are counted", () => {
  using store = sample();
  const path = store.must("mount", "app").trimEnd();
  assertEquals(store.must("mount", "app"), `${path}\n`);
  assertEquals(store.json("umount", "app"), { id: "app", references: 1 });
  assert(mountPoints(store.root).includes(path));
  assertEquals(store.json("umount", "app"), { id: "app", references: 0 });
  assert(!mountPoints(store.root).includes(path));
});

needs(lacking, "cli: mount --read-only refuses writes", () => {
  using store = sample();
  const { path } = store.json<{ path: string }>("mount", "app", "--read-only");
  assertEquals(Deno.readTextFileSync(join(path, "new")), "12345");
  const { code } = store.shell(`touch '${path}/x'`);
  assertEquals(code, 1);
  store.must("umount", "app");
});

needs(lacking, "cli: exists answers by its status", () => {
  using store = new TestStore();
  store.must("create", "abc");
  assertEquals(store.run("exists", "abc"), { success: true, code: 0, stdout: "", stderr: "" });
  assertEquals(store.run("exists", "abx"), { success: false, code: 3, stdout: "", stderr: "" });
  assertEquals(store.run("exists", "ab").code, 3, "a prefix is not enough");
  const { code, stdout } = store.run("exists", "abx", "--json");
  assertEquals([code, JSON.parse(stdout)], [3, { id: "abx", exists: false }]);
});

needs(lacking, "cli: a unique prefix names a layer where nothing is created or destroyed", () => {
  using store = sample();
  const whole = store.must("changes", "app");
  assertEquals(store.must("changes", "a"), whole);
  assertEquals(store.must("changes", "a", "--parent", "b"), whole);
  assertEquals(store.must("diffsize", "a"), "13\n");
  assertMatch(store.must("inspect", "ba"), /^Id: +base$/m);
  const path = store.must("mount", "ap", "--read-only").trimEnd();
  assertStringIncludes(path, "/app/");
  store.must("umount", "app");
  for (
    const args of [["rm", "ap"], ["mount", "ap"], ["umount", "ap"], [
      "apply",
      "ap",
      store.path("base.tar"),
    ], [
      "changes",
      "ap",
      "--json",
    ]]
  ) {
    assertEquals(store.run(...args).code, 3, args.join(" "));
  }
  assertEquals(store.run("create", "x", "--parent", "ba").code, 3);
});

needs(lacking, 'cli: --parent "" is the whole layer, another parent a comparison of trees', () => {
  using store = sample();
  assertEquals(
    store.must("changes", "app", "--parent", ""),
    "A /bin\nA /bin/sh\nA /etc\nA /etc/hosts\nA /new\n",
  );
  assertEquals(store.must("diffsize", "app", "--parent="), "15\n");
  assertEquals(
    store.must("changes", "base", "--parent", "app"),
    "C /etc\nC /etc/hosts\nA /etc/motd\nD /new\n",
  );
  const { stdout } = store.shell(`veneer diff app --parent "" | tar -t`);
  assertEquals(stdout.trim().split("\n").map((name) => name.replace(/\/$/, "")), [
    "bin",
    "bin/sh",
    "etc",
    "etc/hosts",
    "new",
  ]);
});

needs(
  lacking,
  "cli: changes --json is an array of kinds and paths, escaped where text is escaped",
  () => {
    using store = new TestStore();
    assertEquals(store.must("create", "odd") + store.must("changes", "odd", "--json"), "[]\n");
    store.must("apply", "odd", store.tar("t.tar", { "two\nlines": "x", "back\\slash": "y" }));
    assertEquals(store.must("changes", "odd"), "A /back\\134slash\nA /two\\012lines\n");
    assertEquals(store.json("changes", "odd"), [
      { kind: "A", path: "/back\\slash" },
      { kind: "A", path: "/two\nlines" },
    ]);
  },
);

needs(lacking, "cli: diff -o leaves no half file, and keeps what it cannot replace", () => {
  using store = sample();
  const tar = store.path("out.tar");
  Deno.writeTextFileSync(tar, "old");
  assertEquals(store.run("diff", "gone", "-o", tar).code, 3);
  assertEquals(store.run("diff", "app", "--parent", "gone", "-o", tar).code, 3);
  assertEquals(Deno.readTextFileSync(tar), "old");
  store.must("diff", "app", "-o", tar);
  assertEquals(Deno.statSync(tar).mode! & 0o777, 0o600);
  const { bytes } = store.json<{ bytes: number }>("diff", "app", "-o", tar);
  assertEquals(Deno.statSync(tar).size, bytes);

  Deno.symlinkSync(tar, store.path("link.tar"));
  store.must("diff", "app", "-o", store.path("link.tar"));
  assert(Deno.lstatSync(store.path("link.tar")).isSymlink, "a link is followed, not replaced");
  store.must("diff", "app", "-o", "/dev/null");
  assert(Deno.statSync("/dev/null").isCharDevice, "a device is written to, not replaced");
  const { code, stdout } = store.shell("veneer diff app -o - | wc -c");
  assertEquals([code, Number(stdout)], [0, bytes]);

  for (const [how, read] of [["gzip", "gzip -dc"], ["zstd", "zstd -dc"], ["none", "cat"]]) {
    const packed = store.path(`packed.${how}`);
    store.must("diff", "app", "--compress", how, "-o", packed);
    must("bash", "-c", `${read} "$0" | cmp - "$1"`, packed, tar);
    assertEquals(store.run("diff", "gone", "--compress", how, "-o", packed).code, 3);
    assertEquals(store.json("diff", "app", "--compress", how, "-o", packed), {
      id: "app",
      file: packed,
      bytes,
    });
  }

  const files = must("ls", store.path(".")).trim().split("\n");
  assertEquals(files.filter((name) => name.includes(".tmp")), []);
});

needs(lacking, "cli: diff that runs out of space leaves nothing behind", () => {
  using store = sample();
  const { code, stderr } = store.shell(
    `d=$(mktemp -d) && mount -t tmpfs -o size=4k none "$d" && cd "$d" || exit 99
     veneer diff app -o x.tar; s=$?; ls; umount -l "$d"; rmdir "$d"; exit $s`,
  );
  assertEquals(code, 11, stderr);
  assertMatch(stderr, /^veneer: .*no space left on device.*\n$/);
});

needs(lacking, "cli: tree draws parents, sizes and mounts", () => {
  using store = sample();
  store.must("create", "other", "--parent", "base");
  const path = store.must("mount", "app").trimEnd();
  assertEquals(
    store.must("tree"),
    `base  18 B\n├─ app  13 B  mounted at ${path} (1 use)\n└─ other  0 B\n`,
  );
  assertEquals(
    store.must("tree", "--brief"),
    `base\n├─ app  mounted at ${path} (1 use)\n└─ other\n`,
  );
  const drawn = store.json<(Layer & { size: number })[]>("tree");
  assertEquals(drawn.map(({ id, parent, size }) => [id, parent, size]), [
    ["base", "", 18],
    ["app", "base", 13],
    ["other", "base", 0],
  ]);
  store.must("umount", "app");
});

needs(
  lacking,
  "cli: a layer whose parent is gone is listed, with a warning, and can be removed",
  () => {
    using store = sample();
    store.must("create", "top", "--parent", "app");
    const home = join(store.root, "overlay2");
    // As Docker leaves a store when it removes an image below a layer that it does not know.
    Deno.removeSync(join(home, "l", Deno.readTextFileSync(join(home, "base/link"))));
    Deno.removeSync(join(home, "base"), { recursive: true });
    const { code, stdout, stderr } = store.run("--json", "ls");
    assertEquals(code, 0);
    const layers: Layer[] = JSON.parse(stdout);
    assertEquals(layers.map(({ id, parent }) => [id, parent]), [["app", null], ["top", "app"]]);
    assertMatch(
      stderr,
      /^\{"warning":\{"message":"the parent of layer app cannot be determined: .*\}\n$/,
    );
    const tree = store.run("tree");
    assertEquals([tree.code, tree.stdout.match(/app|top/g)], [0, ["app", "top"]]);
    assertEquals(store.run("mount", "app").code, 10);
    assertEquals(store.run("rm", "app").code, 5);
    store.must("rm", "top", "app");
    assertEquals(store.must("ls", "--quiet"), "");
  },
);

needs(lacking, "cli: inspect shows a layer, its children and the driver's directories", () => {
  using store = sample();
  const text = store.must("inspect", "base");
  assertMatch(text, /^Children: +app$/m);
  assertMatch(text, /^Parent: +none$/m);
  assertMatch(text, /^UpperDir: +\/.*\/overlay2\/base\/diff$/m);
  const layer = store.json<
    Layer & { driver: string; children: string[]; metadata: Record<string, string> }
  >(
    "inspect",
    "app",
  );
  assertEquals([layer.id, layer.parent, layer.driver, layer.children], [
    "app",
    "base",
    "overlay2",
    [],
  ]);
  assertMatch(layer.metadata.LowerDir, /\/diff$/);

  // A base layer in use has no mount, and is seen at its own directory.
  const path = store.must("mount", "base").trimEnd();
  assertMatch(store.must("inspect", "base"), new RegExp(`^Mounted at: +${path}$`, "m"));
  assertEquals(store.json<{ root: string }>("inspect", "base").root, path);
  store.must("umount", "base");
  assertEquals(store.json<{ root: string | null }>("inspect", "base").root, null);
});

needs(lacking, "cli: status names the driver and what it stands on", () => {
  using store = new TestStore();
  store.must("create", "base");
  const text = store.must("status");
  assertMatch(text, /^Driver: overlay2$/m);
  assertMatch(text, /^Backing Filesystem: \S+$/m);
  const { driver, home, status } = store.json<
    { driver: string; home: string; status: Record<string, string | boolean> }
  >(
    "status",
  );
  assertEquals([driver, home], ["overlay2", `${Deno.realPathSync(store.root)}/overlay2`]);
  assertEquals(status["Supports d_type"], true);
});

needs(lacking, "cli: --log-level debug tells of mounts, and in JSON all is JSON", () => {
  using store = sample();
  const told = (...args: string[]) => store.run("--log-level", "debug", ...args).stderr;
  const mounted = told("mount", "app");
  assertMatch(mounted, /^veneer: debug: mount --bind \S+ on itself$/m);
  assertMatch(mounted, /^veneer: debug: (fs)?mount overlay on \S+\/app\/merged: .*lowerdir/m);
  assertMatch(told("umount", "app"), /^veneer: debug: umount \S+\/app\/merged$/m);
  assertEquals(store.run("--log-level", "info", "mount", "app").stderr.includes("debug"), false);
  const lines = told("--json", "mount", "gone").trimEnd().split("\n").map((line) =>
    JSON.parse(line)
  );
  const { error } = lines.at(-1);
  assertEquals(error.code, "not found");
  assertMatch(error.stack, /\n +at /);
  store.must("umount", "app");
});

needs(lacking, "cli: rm goes on past a failure and ends with the first one's status", () => {
  using store = sample();
  const { code, stderr } = store.run("rm", "gone", "base", "app", "bad/id");
  assertEquals(code, 3, "not found comes first");
  const lines = stderr.trimEnd().split("\n");
  assertEquals(lines.length, 3);
  assertMatch(lines[0], /^veneer: layer gone does not exist/);
  assertMatch(lines[1], /^veneer: layer base has children: app/);
  assertMatch(lines[2], /^veneer: layer id "bad\/id"/);
  assertEquals(store.must("ls", "-q"), "base\n");
  const json = store.run("rm", "--json", "base", "base");
  assertEquals(JSON.parse(json.stdout), { removed: ["base"] });
  assertEquals(JSON.parse(json.stderr).error.exit, json.code);
});

needs(lacking, "cli: cleanup unmounts what nobody counts and releases the store", () => {
  using store = sample();
  store.must("mount", "app");
  store.must("cleanup");
  assert(
    mountPoints(store.root).some((point) => point.endsWith("/merged")),
    "a counted mount stays",
  );
  store.must("umount", "app");
  store.must("cleanup");
  assertEquals(mountPoints(store.root), []);
  assertEquals(store.json("cleanup"), { actions: [] });
});

needs(lacking, "cli: doctor examines the machine and each driver, and changes nothing", () => {
  using store = new TestStore();
  const { code, stdout, stderr } = veneer("doctor", "--root", store.root);
  assertEquals({ code, stderr }, { code: 0, stderr: "" });
  assertMatch(stdout, /^this machine\n {2}✓ kernel /);
  assertMatch(stdout, /^overlay2$/m);
  assertMatch(stdout, /^Can run at .*: .*overlay2/m);
  const { drivers } = JSON.parse(veneer("doctor", "--root", store.root, "--json").stdout);
  assertEquals(drivers[0].canRun, true);
  assertEquals(mountPoints(store.path(".")), []);
  assert(!must("ls", store.path(".")).includes("store"), "the root was not made");
});

needs(lacking, "cli: doctor says what is wrong where nothing can run, and what helps", () => {
  using store = sample();
  const onOverlay = join(store.must("mount", "app").trimEnd(), "etc");
  const { code, stdout } = veneer("doctor", "--root", onOverlay);
  store.must("umount", "app");
  assertEquals(code, 6, stdout);
  assertMatch(stdout, /^ {2}✗ .*overlay.*; /m);
  assertStringIncludes(stdout, `No driver can run at ${onOverlay}.\n`);
});

needs(lacking, "cli: root without CAP_SYS_ADMIN, as in containers, is told so", () => {
  using store = sample();
  const without = ["--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"];
  const limited = (...words: string[]) =>
    run("setpriv", ...without, ...PROGRAM, ...store.options, ...words);
  assertEquals(
    limited("mount", "app").stderr,
    `veneer: mount ${store.root}/overlay2: operation not permitted (EPERM); ` +
      "this process lacks CAP_SYS_ADMIN; in a container, run it with --privileged\n",
  );
  const { code, stdout } = limited("doctor");
  assertEquals(code, 6, stdout);
  assertMatch(stdout, /^ {2}✗ run by root without CAP_SYS_ADMIN, .*; in a container, /m);
  assertMatch(stdout, /^No driver can run at /m);
  assertEquals(limited("ls", "-q").stdout.split("\n").includes("app"), true);
});

needs(lacking, "cli: a /run that cannot be written to is told, with its remedy", () => {
  using store = sample();
  const listed = (options: string) => {
    const script = `mount -t tmpfs -o ${options} run /run && exec "$@"`;
    return run("unshare", "-m", "sh", "-c", script, "sh", ...PROGRAM, ...store.options, "ls", "-q");
  };
  assertEquals(listed("size=1m").stdout, "app\nbase\n");
  const { code, stderr } = listed("ro");
  assertEquals({ code, stderr }, {
    code: 8,
    stderr: "veneer: /run/veneer, which has the locks of all stores, cannot be made: " +
      "/run is read-only; mount a tmpfs there\n",
  });
});

needs(lacking, "cli: id maps: what is made belongs to container root", () => {
  using store = new TestStore("--uidmap", "0:100000:65536", "--gidmap", "0:200000:65536");
  store.must("create", "mapped");
  store.must("apply", "mapped", store.tar("t.tar", { "f": "x" }));
  const { mode: _mode, uid, gid } = Deno.statSync(join(store.root, "overlay2/mapped/diff/f"));
  assertEquals([uid, gid], [100000, 200000]);
  const { stdout } = store.shell(
    "veneer diff mapped | tar -tv --numeric-owner | grep -o ' 0/0 ' | wc -l",
  );
  assert(Number(stdout) >= 1);
});

Deno.test("cli: version and help need no store and no root", () => {
  assertMatch(veneer("--version").stdout, /^veneer \d+\.\d+\.\d+\n$/);
  assertMatch(veneer("version").stdout, /^veneer \d+\.\d+\.\d+ \(Deno /);
  assertEquals(Object.keys(JSON.parse(veneer("--version", "--json").stdout)), [
    "version",
    "deno",
    "target",
  ]);
  assertEquals(veneer("help", "diff").stdout, veneer("diff", "--help").stdout);
  assertMatch(veneer("--help").stdout, /^ {2}completions /m);
});
