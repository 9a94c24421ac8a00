/**
 * Commands on images that were killed: what they left mounted goes with the next command.
 */
// @runs on ext4, btrfs
import { assertEquals } from "@std/assert";
import { join } from "@std/path";
import { openImages } from "../../drivers/images.ts";
import { makeSystem } from "../peers/docker.ts";
import { lacksFileSystem, mountPoints, must, needs, TEST_FS } from "../support/cases.ts";
import { TestStore } from "../support/commands.ts";
import { end, start, until } from "../support/processes.ts";
import { file } from "../tar/support/tar_builder.ts";
import { chainsOf, image, layer, OCI_LAYER, oneImage, writeFiles } from "./builder.ts";
import { imageStore, snapshotNames } from "./support.ts";

const isBtrfs = TEST_FS.startsWith("btrfs");
const lacking = isBtrfs ? undefined : lacksFileSystem("overlay");

needs(
  lacksFileSystem("overlay"),
  "image exec: a killed one's snapshot goes when its program has ended",
  async () => {
    using store = new TestStore("--driver", "overlay2");
    const tree = store.path("system"), tar = store.path("system.tar");
    makeSystem(tree, ["sh"]);
    must("mkfifo", join(tree, "never"));
    must("tar", "-C", tree, "-cf", tar, ".");
    const plain = Deno.readFileSync(tar);
    const built = image([{ plain, file: plain, mediaType: OCI_LAYER }]);
    store.must("image", "import", writeFiles(store.path("app"), oneImage(built)));
    const temporary = () =>
      store.json<{ name: string }[]>("snapshot", "ls").map(({ name }) => name)
        .filter((name) => name.startsWith("image-run "));
    const mounts = () => mountPoints(store.root).filter((point) => /\/mounts\/[^/]+$/.test(point));
    /** Starts a program; returns its command, and the program's own id. */
    const exec = async () => {
      const before = mounts();
      const script = "echo $$ >pid; read line <never";
      const command = start(store, "image", "exec", "app", "--", "/bin/sh", "-c", script);
      const pid = () => {
        const [point] = mounts().filter((point) => !before.includes(point));
        try {
          return Number(Deno.readTextFileSync(join(point, "pid")));
        } catch {
          return 0;
        }
      };
      await until("the program", () => pid() !== 0);
      return { command, pid: pid() };
    };
    const killed = await exec(), lives = await exec();
    killed.command.kill("SIGKILL");
    // Not of its output, which its program has, too.
    await killed.command.status;
    store.must("image", "tag", "app", "other");
    assertEquals([temporary().length, mounts().length], [2, 2]);
    Deno.kill(killed.pid, "SIGKILL");
    await until("the removal", () => {
      store.must("image", "tag", "app", "other");
      return temporary().length === 1;
    });
    await end(killed.command);
    assertEquals(mounts().length, 1);
    Deno.kill(lives.pid, "SIGKILL");
    await end(lives.command);
    assertEquals([temporary(), mounts()], [[], []]);
  },
);

needs(
  lacking,
  "images: what killed exports and imports left goes at the next opening",
  async () => {
    using store = await imageStore();
    const built = image([layer([file("a", "a")])]), [chain] = chainsOf(built.layers);
    store.images.import(writeFiles(store.path("in"), oneImage(built)));
    const { snapshots } = store.images;
    const held = store.images.temporaryKey("image-export");
    const keys = [`image-export ${crypto.randomUUID()}`, held.key];
    for (const key of keys) {
      snapshots.view(key, chain);
      snapshots.mount(key);
    }
    snapshots.prepare(`image-layer sha256:${"1".repeat(64)}`, chain);
    // Not of a command's: its key is no command's.
    snapshots.prepare("image-export of mine", chain);
    const open = async () => {
      const root = store.path("root"), driver = isBtrfs ? "btrfs" : "overlay2";
      using _ = await openImages({ root, driver, warn: (line) => fail(line) });
    };
    await open();
    assertEquals(snapshotNames(store), ["image-export of mine", held.key, chain].sort());
    held[Symbol.dispose]();
    await open();
    assertEquals(snapshotNames(store), ["image-export of mine", chain].sort());
    assertEquals(mountPoints(store.path("root")).filter((point) => /\/mounts\//.test(point)), []);
  },
);

function fail(line: string): never {
  throw new Error(`a warning: ${line}`);
}
