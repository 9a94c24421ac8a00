/** `repair --from`: the files of a layer from its tar, in place. */
// @runs on ext4, btrfs
// @runs long on xfs
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { DAMAGE_FOUND, EXIT_STATUS } from "../../lib/cli/exit_status.ts";
import { lacksFileSystem, must, needs, TEST_FS } from "../support/cases.ts";
import { refusal, TestStore } from "../support/commands.ts";
import { killBeforeEveryCall } from "../drivers/kill/killing.ts";
import { lacksKilling } from "../drivers/kill/graph.ts";
import { restorer } from "./restore_child.ts";
import { openDriver } from "../support/drivers.ts";
import { isThere, names, read } from "../support/files.ts";

/** Restores layer `app` of a store on overlay2. */
const restore = await restorer();

interface Restored {
  readonly restored: { path: string; fault: string }[];
  readonly quarantine: string | null;
  readonly left: unknown[];
}

const driver = TEST_FS === "btrfs" ? "btrfs" : "overlay2";

class DriverStore extends TestStore {
  override readonly options = ["--root", this.root, "--driver", driver];
}

/** A layer of files on another one, and one on it. */
function makeStore(store: TestStore, record: string): { tar: string; own: string } {
  const base = store.tar("base.tar", { "etc/base": "base", "gone": "gone" });
  const files = Object.fromEntries(
    Array.from({ length: 50 }, (_, i) => [`lib/${i}`, `content ${i}`]),
  );
  const tar = store.tar("app.tar", { ...files, "etc/app": "app", "bin/tool": "x".repeat(9000) });
  const tree = `${tar}.tree`;
  must("ln", "-s", "tool", join(tree, "bin/link"));
  must("mkfifo", join(tree, "bin/fifo"));
  must("touch", join(tree, ".wh.gone"));
  must("setfattr", "-n", "user.key", "-v", "value", join(tree, "bin/tool"));
  must("tar", "-C", tree, "--xattrs", "-cf", tar, ".");
  using layers = openDriver({ root: store.root, driver, options: [`record=${record}`] });
  layers.create("base");
  layers.applyDiff("base", undefined, base);
  for (const id of ["app", "right"]) {
    layers.create(id, { parent: "base" });
    layers.applyDiff(id, undefined, tar);
  }
  layers.create("top", { parent: "app" });
  const own = join(store.root, driver, driver === "btrfs" ? "subvolumes/app" : "app/diff");
  return { tar, own };
}

/** Damages files of a layer in every way. */
function damage(own: string): void {
  const write = (path: string, content: string) => Deno.writeTextFileSync(join(own, path), content);
  write("lib/1", "");
  write("lib/2", "shorter");
  write("etc/app", "apP");
  must("touch", "-d", "2001-01-01", join(own, "lib/3"));
  Deno.removeSync(join(own, "lib/4"));
  Deno.chmodSync(join(own, "lib/5"), 0o777);
  Deno.chownSync(join(own, "lib/6"), 1, 1);
  must("setfattr", "-x", "user.key", join(own, "bin/tool"));
  Deno.removeSync(join(own, "bin/link"));
  write("bin/link", "a file");
  Deno.removeSync(join(own, "bin/fifo"));
  Deno.chmodSync(join(own, "etc"), 0o700);
  Deno.writeTextFileSync(join(own, "lib/added"), "added");
}

const DAMAGED = [
  "/bin/fifo missing",
  "/bin/link damaged",
  "/bin/tool damaged",
  "/etc damaged",
  "/etc/app damaged",
  ...[1, 2, 3].map((i) => `/lib/${i} damaged`),
  "/lib/4 missing",
  ...[5, 6].map((i) => `/lib/${i} damaged`),
];

const LISTED = "%P %y %m %U:%G %s %T@ %l\\n";

const lines = ({ restored }: Restored) =>
  restored.map(({ path, fault }) => `${path} ${fault}`).sort();

needs(
  driver === "btrfs" ? undefined : lacksFileSystem("overlay"),
  "cli: repair --from restores a layer's files and nothing else",
  () => {
    for (const record of ["sizes", "none"]) {
      using store = new DriverStore();
      const { tar, own } = makeStore(store, record);
      const times = () => must("find", own, "-type", "d", "-printf", "%P %T@\n");
      const before = times();
      damage(own);
      must("touch", "-d", "2001-01-01", join(own, "lib"), join(own, "bin"));
      const touched = times();
      const child = join(store.root, driver, driver === "btrfs" ? "subvolumes/top" : "top/diff");
      const above = must("find", child, "-ls");
      const dry = store.run("repair", "app", "--from", tar, "--dry-run");
      assertEquals(dry.code, DAMAGE_FOUND);
      assertMatch(dry.stdout, /^would restore \/lib\/4 of layer app, which was missing$/m);
      const result = store.json<Restored>("repair", "app", "--from", tar);
      const isTold = record === "sizes";
      assertEquals(lines(result), [...DAMAGED, ...isTold ? ["/lib/added added"] : []].sort());
      assertEquals(result.left, []);
      assertEquals(isThere(join(own, "lib/added")), !isTold);
      if (!isTold) Deno.removeSync(join(own, "lib/added"));
      else assertEquals(times(), touched, "times of directories");
      assertEquals(before === touched, false);
      assertEquals(store.json("changes", "app", "--parent", "right"), []);
      assertEquals(must("find", child, "-ls"), above, "the layer on it is as it was");
      assertStringIncludes(
        read(
          join(result.quarantine!, "home", own.slice(join(store.root, driver).length), "etc/app"),
        ),
        "apP",
      );
      if (isTold) assertEquals(store.run("check", "--deep").code, 0);
      assertEquals(lines(store.json<Restored>("repair", "app", "--from", tar)), []);
      assertEquals(names(join(store.root, driver, ".veneer/staging")), []);
    }
  },
);

needs(
  driver === "btrfs" ? undefined : lacksFileSystem("overlay"),
  "cli: repair --from refuses another tar, and a layer that is mounted",
  () => {
    using store = new DriverStore();
    const { tar, own } = makeStore(store, "sizes");
    damage(own);
    const other = store.tar("other.tar", { "etc/app": "app" });
    assertMatch(
      refusal("invalid argument", store.run("repair", "app", "--from", other)),
      /the source is not what layer app was made from/,
    );
    store.must("mount", "top");
    const used = store.run("repair", "app", "--from", tar);
    assertEquals(used.code, driver === "btrfs" ? 0 : EXIT_STATUS["in use"], used.stderr);
    store.must("umount", "top");
    assertEquals(store.must("ls", "-q"), "app\nbase\nright\ntop\n", "no scratch stays");
    refusal("usage", store.run("repair", "--from", tar));
  },
);

needs(
  driver === "btrfs" ? "a subvolume is lost with its files" : lacksFileSystem("overlay"),
  "cli: repair --from brings back all of a layer's files, and its records",
  () => {
    using store = new DriverStore();
    const { tar, own } = makeStore(store, "sizes");
    Deno.removeSync(own, { recursive: true });
    Deno.writeTextFileSync(join(store.root, "overlay2/app/link"), "");
    const { restored } = store.json<Restored>("repair", "app", "--from", tar);
    assertEquals(restored, [{ path: "/", fault: "missing" }]);
    assertEquals(store.run("check", "--deep").code, 0);
    assertEquals(store.json("changes", "app", "--parent", "right"), []);
  },
);

needs(
  driver === "btrfs" ? undefined : lacksFileSystem("overlay"),
  "cli: repair --from takes a copy of the layer's directory",
  () => {
    using store = new DriverStore();
    const { own } = makeStore(store, "sizes");
    const copy = store.path("copy");
    must("cp", "-a", own, copy);
    damage(own);
    must("rm", "-r", join(own, "lib"));
    const { restored, left } = store.json<Restored>("repair", "app", "--from", copy);
    assertEquals(restored.filter(({ path }) => path === "/lib").length, 1);
    assertEquals(left, []);
    // Directories that were there had other times before.
    const list = (path: string) =>
      must("find", path, "(", "!", "-type", "d", "-o", "-name", "lib", ")", "-printf", LISTED)
        .split("\n").sort();
    assertEquals(list(own), list(copy));
    assertEquals(store.json<Restored>("repair", "app", "--from", copy).restored, []);
    assertEquals(store.run("check", "--deep").code, 0);
  },
);

needs(
  driver === "btrfs" ? "it is the same there" : lacksFileSystem("overlay") ?? lacksKilling,
  "repair --from: killed before every system call, the next one ends it",
  () =>
    killBeforeEveryCall({
      name: "repair --from",
      script: "../../care/restore_child.ts",
      arguments: ({ path }) => [join(path, "root"), join(path, "app.tar")],
      prepare: ({ path }) => {
        const root = join(path, "root"), tree = join(path, "tree"), tar = join(path, "app.tar");
        Deno.mkdirSync(join(tree, "deep/er"), { recursive: true });
        for (const name of ["a", "b", "deep/c", "deep/er/d"]) {
          Deno.writeTextFileSync(join(tree, name), `content of ${name}`);
        }
        must("tar", "-C", tree, "-cf", tar, ".");
        using layers = openDriver({ root, driver, options: ["record=sizes"] });
        for (const id of ["app", "right"]) {
          layers.create(id);
          layers.applyDiff(id, undefined, tar);
        }
        layers.create("veneer-repair-of-mine");
        const own = join(root, "overlay2/app/diff");
        Deno.writeTextFileSync(join(own, "a"), "");
        Deno.writeTextFileSync(join(own, "added"), "");
        Deno.removeSync(join(own, "b"));
        Deno.removeSync(join(own, "deep/er"), { recursive: true });
      },
      verify: ({ path }) => {
        const root = join(path, "root");
        restore(root, join(path, "app.tar"));
        using layers = openDriver({ root, driver });
        assertEquals([...layers.changes("app", "right")], []);
        const ids = layers.layers().map(({ id }) => id);
        assertEquals(ids, ["app", "right", "veneer-repair-of-mine"], "no scratch stays");
        // Whenever it was killed, what was replaced is kept.
        for (const name of ["a", "added"]) {
          const quarantine = join(root, "overlay2/.veneer/quarantine");
          const kept = must("find", quarantine, "-name", name, "-size", "0");
          assertMatch(kept, new RegExp(`/home/app/diff/${name}\n$`));
        }
      },
    }),
);
