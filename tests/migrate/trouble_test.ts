/** `migrate` in trouble: what is damaged, in use, full, limited, or there already. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { EXIT_STATUS } from "../../lib/cli/exit_status.ts";
import { Home } from "../../lib/store/home.ts";
import { RunState } from "../../lib/store/run_state.ts";
import { IDENTITY } from "../../lib/base/id_maps.ts";
import { lacksFileSystem, must, needs } from "../support/cases.ts";
import { veneer } from "../support/commands.ts";
import { openDriver, openSnapshotter } from "../support/drivers.ts";
import { isThere, read } from "../support/files.ts";
import { fill } from "../support/layers.ts";
import { mountImage } from "../runner/images.ts";
import { storeDir } from "../support/store_dir.ts";
import { image as builtImage, layer, oneImage, tarOf } from "../images/builder.ts";
import { file } from "../tar/support/tar_builder.ts";
import { migrate, outcomeOf, type Place, words } from "./support.ts";

const lacking = lacksFileSystem("overlay") ?? lacksFileSystem("btrfs");

/** Two stores of overlay2, the second one empty. */
class Stores implements Disposable {
  readonly #dir = storeDir();
  readonly path = this.#dir.path;
  readonly from: Place = { root: join(this.path, "root"), driver: "overlay2" };
  readonly to: Place = { root: join(this.path, "root/new"), driver: "overlay2" };

  /** Makes layers, each by its id and its parent's; each has a file of its name. */
  make(...layers: [id: string, parent?: string][]): void {
    using store = openDriver(this.from);
    for (const [id, parent] of layers) {
      fill(store, id, (root) => Deno.writeTextFileSync(join(root, id), id), parent);
    }
    store.cleanup();
  }

  home(...parts: string[]): string {
    return join(this.from.root, "overlay2", ...parts);
  }

  newHome(...parts: string[]): string {
    return join(this.to.root, "overlay2", ...parts);
  }

  [Symbol.dispose](): void {
    for (const { root } of [this.from, this.to]) veneer("--root", root, "cleanup");
    this.#dir[Symbol.dispose]();
  }
}

needs(lacking, "migrate: damaged layers are left out with those above, others go on", () => {
  using stores = new Stores();
  stores.make(["a"], ["a1", "a"], ["a2", "a1"], ["b"], ["b1", "b"], ["c"], ["d"], ["d1", "d"]);
  Deno.removeSync(stores.home("a1/diff"), { recursive: true });
  Deno.writeTextFileSync(stores.home("b1/lower"), "l/../../etc\0");
  // Two that stand on each other.
  const link = (id: string) => `l/${Deno.readTextFileSync(stores.home(id, "link"))}`;
  Deno.writeTextFileSync(stores.home("d/lower"), `${link("d1")}:${link("d")}`);
  const { code, stores: [{ migrated, failed }], stderr } = outcomeOf(stores.from, stores.to);
  assert(code !== 0 && migrated.includes("c") && migrated.includes("a"), stderr);
  const left = failed.flatMap(({ id, skipped }) => [id, ...skipped]).sort();
  assertEquals([...left, ...migrated].sort(), ["a", "a1", "a2", "b", "b1", "c", "d", "d1"]);
  assertEquals(failed.find(({ id }) => id === "a1")?.skipped, ["a2"]);
  assertEquals(migrated.filter((id) => ["a", "b", "c"].includes(id)).sort(), ["a", "b", "c"]);
  using store = openDriver(stores.to);
  assertEquals(store.layers().map(({ id }) => id), [...migrated].sort());
});

needs(lacking, "migrate: what may be written to now is left out until it is not", () => {
  using stores = new Stores();
  stores.make(["base"], ["box", "base"]);
  {
    using snapshots = openSnapshotter(stores.from);
    snapshots.prepare("key", "");
    snapshots.commit("one", "key");
    snapshots.prepare("box", "one");
    veneer("--root", stores.from.root, "snapshot", "mount", "box");
  }
  veneer("--root", stores.from.root, "mount", "base");
  veneer("--root", stores.from.root, "mount", "box");
  const first = outcomeOf(stores.from, stores.to);
  assertEquals(first.code, EXIT_STATUS["in use"]);
  assertEquals(first.stores.map(({ migrated }) => migrated), [["base"], ["one"]]);
  const reasons = first.stores.map(({ failed: [{ id, reason }] }) => `${id}: ${reason}`);
  assertStringIncludes(reasons[0], `box: it is mounted at ${stores.home("box/merged")}`);
  assertStringIncludes(reasons[1], 'box: snapshot "box": layer ');
  veneer("--root", stores.from.root, "umount", "box");
  veneer("--root", stores.from.root, "umount", "base");
  veneer("--root", stores.from.root, "snapshot", "umount", "box");
  const printed = migrate(stores.from, stores.to);
  assertStringIncludes(printed, "1 layer migrated");
  assertStringIncludes(printed, "1 snapshot migrated");
  assertStringIncludes(printed, "1 there already");
});

needs(lacking, "migrate: two at once are refused, as is a layer of another origin", () => {
  using stores = new Stores();
  stores.make(["base"], ["app", "base"]);
  const other: Place = { root: join(stores.path, "root/other"), driver: "overlay2" };
  {
    using store = openDriver(other);
    store.create("app");
  }
  migrate(other, stores.to);
  const state = new RunState(Home.open(stores.to.root, "overlay2", IDENTITY));
  {
    using _held = state.lockNamed("migrate", "the migration");
    const { code, stderr } = veneer(...words(stores.from, stores.to));
    assertEquals(code, EXIT_STATUS["in use"]);
    assertStringIncludes(stderr, `${stores.newHome()} is being migrated to by another process`);
  }
  const { code, stores: [{ migrated, failed }] } = outcomeOf(stores.from, stores.to);
  assertEquals(code, EXIT_STATUS["already exists"]);
  assertEquals(migrated, ["base"]);
  assertStringIncludes(failed[0].reason, `from ${other.root}/overlay2`);
});

needs(lacking, "migrate: only what a killed migration made is removed", () => {
  using stores = new Stores();
  stores.make(["mine"], ["made"], ["half"]);
  migrate(stores.from, stores.to);
  {
    using store = openDriver(stores.to);
    // Killed before `mine` was made and within `half`; `made` was removed and made by a user since.
    for (const id of ["mine", "made"]) {
      store.remove(id);
      fill(store, id, (root) => Deno.writeTextFileSync(join(root, "of a user"), ""));
    }
    store.cleanup();
  }
  const log = stores.newHome(".veneer/migrated"), half = /"done":"half","as":"(\d+)"/;
  const [, mark] = half.exec(read(log))!;
  const lines = ["mine", "made", "half"].map((begin) =>
    JSON.stringify({ begin, as: begin === "half" ? mark : begin === "made" ? "1" : undefined })
  );
  Deno.writeTextFileSync(log, `${lines.join("\n")}\n`, { append: true });
  const { code, stores: [{ migrated, failed }] } = outcomeOf(stores.from, stores.to);
  assertEquals([code, migrated], [EXIT_STATUS["already exists"], ["half"]]);
  assertEquals(failed.map(({ id }) => id), ["made", "mine"]);
  for (const id of ["mine", "made"]) assert(isThere(stores.newHome(id, "diff/of a user")));
});

needs(lacking, "migrate: without room it says so, and goes on when there is some", () => {
  using stores = new Stores();
  using image = mountImage("ext4", stores.path, 64 << 20);
  {
    using store = openDriver(stores.from);
    for (const [id, parent] of [["one"], ["two", "one"], ["three", "two"]]) {
      fill(store, id, (root) => {
        Deno.writeFileSync(join(root, id), new Uint8Array(12 << 20).fill(7));
      }, parent);
    }
    store.cleanup();
  }
  const filler = join(image.mountPoint, "filler");
  Deno.writeFileSync(filler, new Uint8Array(24 << 20).fill(1));
  const to: Place = { root: join(image.mountPoint, "store"), driver: "overlay2" };
  const { code, stderr } = veneer(...words(stores.from, to));
  assertEquals(code, EXIT_STATUS["limit exceeded"]);
  assertEquals(stderr.split("\n").length, 2, stderr);
  assertStringIncludes(stderr, `${to.root}/overlay2 has no room for t`);
  assertStringIncludes(stderr, " of 3 are done: make room and run the same command again");
  assert(!stderr.includes("incomplete"), "what was made of it is removed");
  Deno.removeSync(filler);
  const again = outcomeOf(stores.from, to, "--verify");
  assertEquals([again.code, again.stderr], [0, ""]);
  const [{ migrated, kept, verified }] = again.stores;
  assert(kept.length > 0 && migrated.length > 0, `${kept} were there, ${migrated} made`);
  assertEquals([...kept, ...migrated], ["one", "two", "three"]);
  assertEquals(verified.length, 3);
});

needs(lacking, "migrate: a limit goes along, or its loss is told", () => {
  using stores = new Stores();
  using image = mountImage("btrfs", stores.path);
  const from: Place = { root: join(image.mountPoint, "store"), driver: "btrfs" };
  const near: Place = { root: join(image.mountPoint, "near"), driver: "btrfs" };
  {
    using store = openDriver(from);
    store.createReadWrite("box", { storageOptions: new Map([["size", "64M"]]) });
  }
  migrate(from, near);
  using store = openDriver(near);
  assertEquals(store.getMetadata("box").get("Size"), String(64 << 20));
  const { code, stdout, stderr } = veneer(...words(from, stores.to));
  assertEquals(code, 0, stderr);
  assertStringIncludes(stdout, "1 layer migrated");
  assertStringIncludes(stderr, "layer box loses its limit size=67108864: ");
});

needs(
  lacking,
  "migrate: --verify finds what was changed, and a power failure what may be lost",
  () => {
    using stores = new Stores();
    stores.make(["base"], ["app", "base"]);
    migrate(stores.from, stores.to);
    Deno.writeTextFileSync(stores.newHome("app/diff/app"), "xpp");
    const { code, stores: [{ failed, verified }] } = outcomeOf(stores.from, stores.to, "--verify");
    assertEquals([code, verified], [EXIT_STATUS["failed"], ["base"]]);
    assertStringIncludes(failed[0].reason, "its tree differs from the source's: /app has another ");
    // A record of another boot, whose migration did not come to its end.
    const log = stores.newHome(".veneer/migrated");
    const lines = Deno.readTextFileSync(log).split("\n").filter((line) => !line.includes("synced"))
      .map((line) => line.includes('"run"') ? line.replace(/"run":"/, '"run":"0') : line);
    Deno.writeTextFileSync(log, `${lines.join("\n")}{"begin":`);
    const again = outcomeOf(stores.from, stores.to, "--verify");
    assertEquals([again.code, again.stderr], [0, ""]);
    assertEquals(again.stores[0].migrated, ["base", "app"]);
  },
);

needs(lacking, "migrate: one layer with those below it; a list; words that name nothing", () => {
  using stores = new Stores();
  stores.make(["base"], ["app", "base"], ["top", "app"], ["other"]);
  const list = veneer(...words(stores.from, stores.to, "--dry-run", "--json", "app"));
  const members = JSON.parse(list.stdout).members as { id: string; bytes: number }[];
  assertEquals(members.map(({ id }) => id), ["base", "app"]);
  assert(members.every(({ bytes }) => bytes > 0));
  assertStringIncludes(migrate(stores.from, stores.to, "app"), "2 layers migrated");
  using store = openDriver(stores.to);
  assertEquals(store.layers().map(({ id }) => id), ["app", "base"]);
  for (
    const [code, ...more] of [["not found", "nothing"], ["usage", "--dry-run", "--verify"]] as const
  ) {
    assertEquals(veneer(...words(stores.from, stores.to, ...more)).code, EXIT_STATUS[code]);
  }
  const nowhere = veneer("--root", stores.from.root, "migrate", "--to", "overlay2");
  assertEquals(nowhere.code, EXIT_STATUS["not found"], nowhere.stderr);
});

needs(lacking, "migrate: images go along with their layers, and come out as they came", () => {
  using stores = new Stores();
  const layers = ["one", "two"].map((name) => layer([file(name, name.repeat(100))]));
  const tar = join(stores.path, "image.tar");
  Deno.writeFileSync(tar, tarOf(oneImage(builtImage(layers))));
  const at = ({ root }: Place) => ["--root", root];
  const did = (...args: string[]) => {
    const { code, stdout, stderr } = veneer(...args);
    assertEquals([code, stderr], [0, ""], args.join(" "));
    return stdout;
  };
  did(...at(stores.from), "image", "import", tar);
  const { code, stores: [{ of, images, migrated }], stderr } = outcomeOf(stores.from, stores.to);
  assertEquals([code, stderr, of], [0, "", "snapshots"]);
  assertEquals([images.length, migrated.length], [1, 2]);
  const list = (place: Place) => did(...at(place), "image", "ls", "--json");
  assertEquals(list(stores.to), list(stores.from));
  for (const [i, place] of [stores.from, stores.to].entries()) {
    did(...at(place), "image", "export", "app", "-o", join(stores.path, `${i}.tar`));
  }
  must("cmp", join(stores.path, "0.tar"), join(stores.path, "1.tar"));
  // A layer without its image is no image's: nothing sweeps it away.
  const alone: Place = { root: join(stores.path, "root/alone"), driver: "overlay2" };
  migrate(stores.from, alone, migrated[0]);
  const other = join(stores.path, "other.tar");
  Deno.writeFileSync(other, tarOf(oneImage(builtImage([layer([file("three", "3")])]))));
  did(...at(alone), "image", "import", other);
  did(...at(alone), "image", "rm", "app");
  assertEquals(did(...at(alone), "snapshot", "ls", "--quiet"), `${migrated[0]}\n`);
});
