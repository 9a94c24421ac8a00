/** `repair --from DUMP` at a root whose layers and snapshots have a pool each: the choice of one. */
// @runs on guest ext4
import { assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { VeneerError } from "../../lib/base/errors.ts";
import { type CheckedStore, checkStore } from "../../lib/care/check.ts";
import { poolStore } from "../../lib/cli/pool_choice.ts";
import { devicemapper } from "../../drivers/devicemapper/mod.ts";
import { lacksProgram, must, needs, run, tempDir } from "../support/cases.ts";
import { PROGRAM } from "../support/commands.ts";
import { read } from "../support/files.ts";
import { lacking, openStore } from "../drivers/devicemapper/support.ts";
import { openSnapshots } from "../drivers/devicemapper/snapshotter_support.ts";
import { kindsOf } from "./support.ts";

const CHECKS = await devicemapper.loadChecks!();
const missing = lacking ?? lacksProgram("thin_dump");
const KINDS = ["layers", "snapshots"] as const;
type Kind = typeof KINDS[number];

/** A root with both stores, each with a base and a layer. */
class Root {
  /** @param differ whether the layers have one more */
  constructor(readonly path: string, differ: boolean) {
    using layers = openStore(path);
    layers.createReadWrite("app");
    if (differ) {
      Deno.writeTextFileSync(join(layers.get("app"), "file"), "app".repeat(100_000));
      layers.put("app");
      layers.createReadWrite("top", { parent: "app" });
    }
    layers.cleanup();
    using snapshots = openSnapshots(path);
    snapshots.prepare("app", "");
    snapshots.commit("done", "app");
    snapshots.cleanup();
  }

  home(of: Kind): string {
    return join(this.path, of === "layers" ? "" : of, "devicemapper");
  }

  metadata(of: Kind): string {
    return join(this.home(of), "devicemapper/metadata");
  }

  store(of: Kind): CheckedStore {
    const options = new Map<string, string>();
    return { root: this.path, driver: "devicemapper", of, checks: CHECKS, options };
  }

  found(of: Kind): string[] {
    return kindsOf(checkStore(this.store(of), 0)!);
  }

  dump(of: Kind, to: string): void {
    const device = must("losetup", "--find", "--show", this.metadata(of)).trim();
    try {
      Deno.writeTextFileSync(to, must("thin_dump", device));
    } finally {
      must("losetup", "--detach", device);
    }
  }

  destroy(of: Kind): void {
    using file = Deno.openSync(this.metadata(of), { write: true });
    file.writeSync(new Uint8Array(20 * 4096));
  }

  /** The pool that a command takes for a dump, or its error. */
  choose(from: string, of?: Kind): string {
    try {
      return poolStore(KINDS.map((kind) => this.store(kind)), from, of).of;
    } catch (error) {
      if (!(error instanceof VeneerError)) throw error;
      return `${error.code}: ${error.message}`;
    }
  }

  repair(from: string, ...words: string[]) {
    const [program, ...first] = PROGRAM;
    return run(program, ...first, "--root", this.path, "repair", "--from", from, ...words);
  }

  /** Forgets the UUID of a store's file systems, as a record lost to a power cut would. */
  forgetUuid(of: Kind): void {
    const path = join(this.home(of), "metadata/deviceset-metadata");
    Deno.writeTextFileSync(path, read(path).replace(/("BaseDeviceUUID":")[^"]*/, "$1"));
  }
}

needs(missing, "repair: devicemapper: of two damaged pools a dump finds its own", () => {
  using dir = tempDir();
  const root = new Root(join(dir.path, "root"), true);
  const dumps = { layers: join(dir.path, "one.xml"), snapshots: join(dir.path, "other.xml") };
  const devices = { layers: 3, snapshots: 2 };
  for (const of of KINDS) root.dump(of, dumps[of]);
  for (const of of KINDS) root.destroy(of);
  for (const of of KINDS) {
    assertStringIncludes(root.found(of).join(), "metadata-image-");
    assertEquals(root.choose(dumps[of]), of);
  }
  for (const of of KINDS) {
    const { code, stdout, stderr } = root.repair(dumps[of]);
    assertEquals([code, stderr], [0, ""], `${of}: ${stdout}`);
    assertStringIncludes(stdout, `restored ${root.metadata(of)}: ${devices[of]} devices`);
    assertEquals(root.found(of), []);
  }

  // An active pool is named with the command that takes it down: each store has its own.
  {
    using layers = openStore(root.path);
    layers.get("app");
    layers.put("app");
    using snapshots = openSnapshots(root.path);
    snapshots.prepare("again", "done");
    snapshots.remove("again");
  }
  for (
    const [of, words] of [["layers", ["cleanup"]], ["snapshots", ["snapshot", "cleanup"]]] as const
  ) {
    const refused = root.repair(dumps[of], "--of", of);
    assertEquals(refused.code, 5, refused.stderr);
    assertStringIncludes(refused.stderr, `${words.join(" ")}\` takes it down`);
    const [program, ...first] = PROGRAM;
    must(program, ...first, "--root", root.path, "--driver", "devicemapper", ...words);
    const { code, stderr } = root.repair(dumps[of], "--of", of);
    assertEquals([code, stderr], [0, ""], of);
  }

  // A dump is not put in the place of its pool's good metadata while the other pool is damaged.
  root.destroy("snapshots");
  const good = root.choose(dumps.layers);
  assertStringIncludes(
    good,
    `usage: the dump is of the pool of layers at ${root.home("layers")}, `,
  );
  assertStringIncludes(good, "which is not damaged");
  assertStringIncludes(good, "choose with --of layers or --of snapshots");
  assertEquals(root.choose(dumps.layers, "layers"), "layers");

  // A dump of neither.
  root.destroy("layers");
  const changed = join(dir.path, "changed.xml");
  for (
    const [from, to, reason] of [
      [/dev_id="(\d+)"/g, 'dev_id="9$1"', "(it has none of its devices)"],
      [/nr_data_blocks="\d+"/, 'nr_data_blocks="99999999"', "(it has 99999999 blocks of data, and"],
      [/(<device[^>]* transaction=")\d+/g, "$17", "of transaction 7, and the record says "],
    ] as const
  ) {
    const text = read(dumps.layers).replace(/(<superblock[^>]* transaction=")\d+/, "$199");
    Deno.writeTextFileSync(changed, text.replace(from, to));
    const chosen = root.choose(changed);
    assertStringIncludes(chosen, "usage: the dump fits neither: there are ");
    assertEquals(chosen.split(reason).length, 3, chosen);
  }
});

needs(missing, "repair: devicemapper: of two pools of one history, one is asked for", () => {
  using dir = tempDir();
  const root = new Root(join(dir.path, "root"), false), dump = join(dir.path, "pool.xml");
  root.dump("snapshots", dump);
  root.destroy("snapshots");
  // That of the damaged one, as far as can be told.
  assertEquals(root.choose(dump), "snapshots");
  root.destroy("layers");
  const unknown = root.repair(dump);
  assertEquals(unknown.code, 2, unknown.stderr);
  assertStringIncludes(unknown.stderr, "the dump fits both: there are the pool of layers at ");
  assertEquals(unknown.stderr.trim().split("\n").length, 1);
  const { code, stdout } = root.repair(dump, "--of", "snapshots");
  assertEquals(code, 0, stdout);
  assertEquals(root.found("snapshots"), []);
  // Without UUIDs the records still tell that it fits both, and one of them is damaged.
  for (const of of KINDS) root.forgetUuid(of);
  assertEquals(root.choose(dump), "layers");
});

needs(missing, "repair: devicemapper: --of is for a dump, and names a pool that exists", () => {
  using dir = tempDir();
  const path = join(dir.path, "root");
  {
    using layers = openStore(path);
    layers.createReadWrite("app");
    layers.cleanup();
  }
  const [program, ...first] = PROGRAM;
  const repair = (...words: string[]) => run(program, ...first, "--root", path, "repair", ...words);
  for (const words of [["--of", "layers"], ["app", "--from", "x.tar", "--of", "layers"]]) {
    assertStringIncludes(repair(...words).stderr, "--of is for --from DUMP, without ID");
  }
  const { code, stderr } = repair("--from", "/dev/null", "--of", "snapshots");
  assertEquals(code, 2);
  assertStringIncludes(stderr, "and the one here is of layers");
});
