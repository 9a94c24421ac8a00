/** What `sync=layer` promises: a disk that loses its power after a commit or an apply has the whole layer. */
// @runs on ext4
import { assert, assertEquals } from "@std/assert";
import { lsetxattr } from "../../../ffi/xattr.ts";
import { IDENTITY } from "../../../lib/base/id_maps.ts";
import { type ImageKind, mountImage } from "../../runner/images.ts";
import { lacksFileSystem, must, needs, tempDir } from "../../support/cases.ts";
import { openDriver, openSnapshotter } from "../../support/drivers.ts";
import { describeTree, tarOf } from "../../support/trees.ts";

const DISKS: readonly [kind: ImageKind, mebibytes: number, driver: string][] = [
  ["ext4", 128, "overlay2"],
  ["xfs", 320, "overlay2"],
  ["btrfs", 256, "btrfs"],
];

/** Small files and a large one, links, empty directories, an attribute. */
function fill(root: string): void {
  for (let i = 0; i < 40; i++) {
    Deno.mkdirSync(`${root}/dir${i}/below`, { recursive: true });
    for (let n = 0; n < 10; n++) {
      Deno.writeTextFileSync(`${root}/dir${i}/${n}`, `${i} ${n}\n`.repeat(50));
    }
  }
  Deno.writeFileSync(`${root}/large`, new Uint8Array(6 << 20).fill(7));
  Deno.linkSync(`${root}/large`, `${root}/dir1/below/link`);
  Deno.symlinkSync("../large", `${root}/dir2/symlink`);
  lsetxattr(`${root}/dir3/0`, "user.note", new TextEncoder().encode("kept"));
}

/** The options of a store whose warnings are failures. */
const durable = (root: string, driver: string) => ({
  root,
  driver,
  options: ["sync=layer"],
  idMaps: IDENTITY,
  warn: (message: string) => {
    throw new Error(`a warning: ${message}`);
  },
});
type Options = ReturnType<typeof durable>;

for (const [kind, mebibytes, driver] of DISKS) {
  const lacking = lacksFileSystem(kind) ??
    (driver === "overlay2" ? lacksFileSystem("overlay") : undefined);

  /**
   * Registers a case: `act` on a disk, which then loses its power; `read` must see the same before
   * and after that.
   */
  const cut = (
    name: string,
    act: (options: Options, scratch: string) => void,
    read: (options: Options) => Map<string, string>,
  ) =>
    needs(lacking, `${driver} on ${kind}, sync=layer: ${name} is on disk`, () => {
      using dir = tempDir();
      const copy = `${dir.path}/copy.img`, mountPoint = `${dir.path}/copy`;
      let expected: Map<string, string>;
      {
        using image = mountImage(kind, dir.path, mebibytes << 20);
        const options = durable(`${image.mountPoint}/root`, driver);
        const scratch = `${dir.path}/scratch`;
        Deno.mkdirSync(scratch);
        act(options, scratch);
        // What the device was given, without what only the mounted file system has in memory.
        must("cp", "--sparse=always", `${dir.path}/${kind}.img`, copy);
        expected = read(options);
      }
      Deno.mkdirSync(mountPoint);
      must("mount", "-o", "loop", copy, mountPoint);
      const found = read(durable(`${mountPoint}/root`, driver));
      assert(expected.size > 400);
      assertEquals([...found], [...expected]);
    });

  const tree = (options: Options, name: string) => {
    using snapshots = openSnapshotter(options);
    snapshots.view("look", name);
    const entries = describeTree(snapshots.mount("look"));
    snapshots.unmount("look");
    snapshots.remove("look");
    return entries;
  };

  cut("a commit of what was written to a mount", (options) => {
    using snapshots = openSnapshotter(options);
    snapshots.prepare("work", "");
    fill(snapshots.mount("work"));
    snapshots.unmount("work");
    snapshots.commit("base", "work");
  }, (options) => tree(options, "base"));

  cut("a commit of an applied tar", (options, scratch) => {
    using snapshots = openSnapshotter(options);
    fill(scratch);
    snapshots.prepare("base work", "");
    snapshots.applyDiff("base work", tarOf(scratch, `${scratch}.tar`));
    snapshots.commit("base", "base work");
    Deno.writeTextFileSync(`${scratch}/dir7/.wh.5`, "");
    snapshots.prepare("work", "base");
    snapshots.applyDiff("work", tarOf(scratch, `${scratch}.tar`));
    snapshots.commit("top", "work");
  }, (options) => tree(options, "top"));

  cut("an apply to a layer", (options, scratch) => {
    using layers = openDriver(options);
    fill(scratch);
    layers.create("base");
    layers.applyDiff("base", undefined, tarOf(scratch, `${scratch}.tar`));
  }, (options) => {
    using layers = openDriver(options);
    const entries = describeTree(layers.get("base"));
    layers.put("base");
    return entries;
  });
}
