/** `repair`: what it refuses, shows and keeps; the tables of damages say what it mends. */
// @runs on ext4
// @runs long on xfs
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { DAMAGE_FOUND, EXIT_STATUS } from "../../lib/cli/exit_status.ts";
import { IDENTITY } from "../../lib/base/id_maps.ts";
import { holdForService } from "../../lib/store/service_hold.ts";
import { Home } from "../../lib/store/home.ts";
import { RunState } from "../../lib/store/run_state.ts";
import { killBeforeEveryCall } from "../drivers/kill/killing.ts";
import { lacksKilling } from "../drivers/kill/graph.ts";
import { BASE, BOX, OWN, writeDockerStore } from "../images/literal_docker_store.ts";
import { lacksFileSystem, must, needs, type TempDir } from "../support/cases.ts";
import { refusal, TestStore } from "../support/commands.ts";
import { openDriver, openSnapshotter } from "../support/drivers.ts";
import { isThere, names, read } from "../support/files.ts";
import { assertFound, check, repair } from "./support.ts";

const lacking = lacksFileSystem("overlay");

interface Repairs {
  readonly stores: { of: string; quarantine: string | null }[];
  readonly mended: { kind: string; file: string }[];
  readonly lost: { name: string; because: string; moved: string[] }[];
  readonly renamed: { from: string; to: string }[];
  readonly left: { kind: string }[];
}

/** A store of three layers on each other and one beside, each with a file of its name. */
function makeStore(root: string): void {
  using layers = openDriver({ root, driver: "overlay2" });
  layers.create("base");
  layers.create("app", { parent: "base" });
  layers.create("top", { parent: "app" });
  layers.create("other", { parent: "base" });
  for (const id of ["base", "app", "top", "other"]) {
    Deno.writeTextFileSync(join(root, "overlay2", id, "diff", id), id);
  }
}

needs(lacking, "cli: repair mends, moves aside what it cannot mend, and keeps all of it", () => {
  using store = new TestStore("--driver", "overlay2");
  makeStore(store.root);
  const home = join(store.root, "overlay2");
  assertEquals(store.must("repair"), "no damage\n");
  assertEquals(isThere(join(home, ".veneer/quarantine")), false);
  Deno.writeTextFileSync(join(home, "app/lower"), "");
  Deno.removeSync(join(home, "other/diff"), { recursive: true });
  // Only shown.
  const before = store.snapshot();
  const dry = store.run("repair", "--dry-run");
  assertEquals([dry.code, dry.stderr], [DAMAGE_FOUND, ""]);
  assertMatch(dry.stdout, /^would mend lower-empty: .*app\/lower is empty; make it a file/m);
  assertMatch(dry.stdout, /^would move other aside$/m);
  assertMatch(dry.stdout, /^2 to mend, 1 to move aside$/m);
  assertEquals(store.snapshot(), before);
  // What is asked for alone.
  const some = store.json<Repairs>("repair", "app");
  assertEquals(some.mended.map(({ kind }) => kind), ["lower-empty"]);
  assertEquals(some.left, []);
  assertEquals(some.lost, []);
  const { code, stdout } = store.run("repair");
  assertEquals(code, 0);
  const quarantine = /^lost other: moved to (.*)$/m.exec(stdout)![1];
  assertEquals(names(quarantine), ["home", "repaired"]);
  assertEquals(read(join(quarantine, "home/other/link")).length, 26, "nothing is deleted");
  const journal = JSON.parse(read(join(quarantine, "repaired")));
  assertEquals(journal.lost[0].name, "other");
  assertEquals(journal.lost[0].moved[0], "other");
  assertEquals(read(join(some.stores[0].quarantine!, "home/app/lower")), "", "the old record");
  assertEquals(store.must("repair"), "no damage\n");
  assertEquals(store.run("check").code, 0);
  assertMatch(store.must("gc"), /quarantine.*delete it when nothing in it is needed/);
  assertEquals(store.json<string[]>("ls", "-q"), ["app", "base", "top"]);
});

needs(lacking, "cli: repair leaves mounted layers alone, and stores that a service holds", () => {
  using store = new TestStore("--driver", "overlay2");
  makeStore(store.root);
  const home = join(store.root, "overlay2");
  store.must("mount", "top");
  Deno.writeTextFileSync(join(home, "app/lower"), "l/NOBODY");
  Deno.writeTextFileSync(join(home, "other/link"), "");
  Deno.writeTextFileSync(join(home, "top/lower"), "l/NOBODY");
  const used = store.run("repair");
  assertEquals(used.code, EXIT_STATUS["in use"]);
  assertStringIncludes(used.stderr, `is mounted at ${join(home, "top/merged")}`);
  assertEquals(["app", "top"].map((id) => isThere(join(home, id, "diff"))), [true, true]);
  assertEquals(read(join(home, "other/link")).length, 26, "others are mended");
  must("umount", join(home, "top/merged"));
  const { lost } = store.json<Repairs>("repair");
  assertEquals(lost.map(({ name, because }) => [name, because]).sort(), [
    ["app", "app"],
    ["top", "top"],
  ]);
  Deno.writeTextFileSync(join(home, "other/link"), "");
  {
    const home = Home.open(store.root, "overlay2", IDENTITY);
    using _hold = holdForService(new RunState(home), home.path);
    assertMatch(refusal("in use", store.run("repair")), /a service holds the store at /);
    assertEquals(store.run("repair", "--dry-run").code, DAMAGE_FOUND);
  }
  assertEquals(store.json<Repairs>("repair").mended.map(({ kind }) => kind), ["link-empty"]);
});

needs(
  lacking,
  "repair: a layer stays with one on it that is mounted, whichever is found first",
  () => {
    using store = new TestStore("--driver", "overlay2");
    const home = join(store.root, "overlay2");
    {
      using layers = openDriver({ root: store.root, driver: "overlay2" });
      // The upper layer's name comes first, and so does what is found about it.
      for (const [id, parent] of [["low", ""], ["middle", "low"], ["above", "middle"]]) {
        layers.create(id, { parent });
      }
    }
    // This mount shows nothing of the layer below.
    const at = store.path("at");
    Deno.mkdirSync(at);
    must("mount", "--bind", join(home, "above"), at);
    for (const id of ["above", "middle"]) {
      Deno.removeSync(join(home, id, "diff"));
    }
    const layers = () => check(store.root, "overlay2").findings.map(({ layer }) => layer);
    assertEquals(layers(), ["above", "middle"]);
    const { code, stderr } = store.run("repair");
    assertEquals(code, EXIT_STATUS["in use"]);
    assertStringIncludes(stderr, "layer above on middle is in use");
    assertEquals(["above", "middle"].map((id) => isThere(join(home, id, "link"))), [true, true]);
    must("umount", at);
    const { lost } = store.json<Repairs>("repair");
    assertEquals(lost.map(({ name }) => name).sort(), ["above", "middle"]);
    assertEquals(layers(), []);
  },
);

needs(lacking, "check: findings are in the order of their files", () => {
  using store = new TestStore("--driver", "overlay2");
  const home = join(store.root, "overlay2"), ids = [..."qwertyuiop"];
  {
    using layers = openDriver({ root: store.root, driver: "overlay2" });
    for (const id of ids) layers.create(id);
  }
  for (const id of ids) Deno.writeTextFileSync(join(home, id, "link"), "");
  const files = check(store.root, "overlay2").findings.map(({ file }) => file);
  assertEquals(files.length, ids.length, files.join());
  assertEquals(files, files.toSorted());
});

needs(lacking, "repair: Docker's records mend a layer, and lose what is not there", () => {
  using store = new TestStore();
  const { root } = store, home = join(root, "overlay2");
  writeDockerStore(root, "overlay2");
  // It has no short names.
  assertEquals(repair(root, "overlay2").lost, []);
  assertFound(check(root, "overlay2"), []);
  // Nothing in the home tells what is below the container's own layer.
  Deno.writeTextFileSync(join(home, OWN, "lower"), "");
  assertEquals((repair(root, "overlay2")).lost, []);
  assertEquals(read(join(home, OWN, "lower")), `l/${read(join(home, `${OWN}-init`, "link"))}`);
  for (const id of [BASE, `${OWN}-init`]) {
    Deno.removeSync(join(home, id, "diff"), { recursive: true });
  }
  const { lost } = repair(root, "overlay2");
  assertEquals(lost.map(({ name }) => name).sort(), [BASE, OWN, `${OWN}-init`]);
  assertFound(check(root, "overlay2"), []);
  const layerdb = join(root, "image/overlay2/layerdb");
  assertEquals([names(join(layerdb, "sha256")), names(join(layerdb, "mounts"))], [[], []]);
  const [run] = names(join(root, "image/overlay2/veneer-quarantine"));
  const moved = names(join(root, "image/overlay2/veneer-quarantine", run));
  assert(moved.includes(`layerdb-mounts-${BOX}`), moved.join());
});

/** Damages of every kind of step, and a layer that is lost. */
function damage({ path }: TempDir): void {
  const root = join(path, "root"), home = join(root, "overlay2");
  makeStore(root);
  const link = read(join(home, "base/link"));
  Deno.writeTextFileSync(join(home, "app/lower"), "");
  Deno.writeTextFileSync(join(home, "top/link"), "");
  Deno.removeSync(join(home, "l", link));
  Deno.removeSync(join(home, "top/work"), { recursive: true });
  Deno.chmodSync(join(home, "app"), 0o777);
  Deno.symlinkSync("../gone/diff", join(home, "l/NOBODYS"));
  Deno.removeSync(join(home, "other/diff"), { recursive: true });
}

needs(
  lacking ?? lacksKilling,
  "repair: killed before every system call, the next one ends it",
  () =>
    killBeforeEveryCall({
      name: "repair",
      script: "../../care/repair_child.ts",
      arguments: ({ path }) => [join(path, "root"), "layers"],
      prepare: damage,
      verify: ({ path }) => {
        const root = join(path, "root"), home = join(root, "overlay2");
        repair(root, "overlay2");
        const checked = check(root, "overlay2");
        assertFound(checked, []);
        assertEquals(checked.count, 3);
        const kept = must("find", join(home, ".veneer/quarantine"), "-path", "*/other/link");
        assertEquals(kept.trim().split("\n").length, 1, "the lost layer is kept once");
        using layers = openDriver({ root, driver: "overlay2" });
        assertEquals(names(layers.get("top", { readOnly: true })), ["app", "base", "top"]);
        layers.put("top");
        layers.cleanup();
        const journals = must("find", join(home, ".veneer/quarantine"), "-name", "journal");
        assertEquals(journals, "", "each run has its end");
      },
    }),
);

needs(
  lacking ?? lacksKilling,
  "repair: killed while it makes a database again, no row is lost",
  () =>
    killBeforeEveryCall({
      name: "repair of a database",
      script: "../../care/repair_child.ts",
      arguments: ({ path }) => [join(path, "root"), "snapshots"],
      prepare: ({ path }) => {
        const root = join(path, "root");
        {
          using snapshots = openSnapshotter({ root, driver: "overlay2" });
          snapshots.prepare("one", "");
          snapshots.commit("base", "one", { labels: new Map([["a", "b"]]) });
          snapshots.prepare("work", "base");
        }
        const { DatabaseSync } = process.getBuiltinModule("node:sqlite");
        using database = new DatabaseSync(join(root, "snapshots/overlay2/metadata.db"));
        database.exec("PRAGMA application_id = 4711");
      },
      verify: ({ path }) => {
        const root = join(path, "root");
        repair(root, "overlay2", "snapshots");
        using snapshots = openSnapshotter({ root, driver: "overlay2" });
        const rows = [...snapshots.walk()].map(({ name, parent, labels }) => [
          name,
          parent,
          labels.get("a"),
        ]);
        assertEquals(rows, [["base", "", "b"], ["work", "base", undefined]]);
      },
    }),
);
