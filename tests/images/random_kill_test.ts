/**
 * Commands on images that are killed at random moments, one after another: each image that is
 * listed is whole, and when all are removed nothing is left. `VENEER_TEST_SEED` sets what the
 * commands and moments are drawn by.
 */
// @runs on ext4, btrfs
import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { gzipSync } from "node:zlib";
import type { ErrorCode } from "../../lib/base/errors.ts";
import { EXIT_STATUS } from "../../lib/cli/exit_status.ts";
import { IS_LONG, lacksFileSystem, mountPoints, needs } from "../support/cases.ts";
import { TestStore } from "../support/commands.ts";
import { isThere, names } from "../support/files.ts";
import { end, start } from "../support/processes.ts";
import { randomOf } from "../support/random.ts";
import { dir, file } from "../tar/support/tar_builder.ts";
import { type Built, image, layer, oneImage, writeFiles } from "./builder.ts";

const SEED = Number(Deno.env.get("VENEER_TEST_SEED") ?? 1);
const KILLS = IS_LONG ? 150 : 6;

const ALLOWED: ErrorCode[] = ["not found", "already exists", "in use", "failed precondition"];

/** Words of commands, in which `I` is an image, `N` another name of one, and `K` a key. */
const COMMANDS = [
  "image import I.dir",
  "image import I.dir",
  "image export I -o OUT",
  "image export N -o OUT",
  "image mount I K",
  "image umount K",
  "image commit K --name N",
  "image tag I N",
  "image rm I",
  "image rm N",
  "image exec I -- missing",
  "snapshot rm K",
];

/** Commands that tell what there is: they must work after each kill. */
const LOOKS = [["image", "ls"], ["image", "tree"], ["snapshot", "ls"]];

/** Two images on one layer of some hundred files. */
function builtImages(): Built[] {
  const files = Array.from({ length: 200 }, (_, i) => file(`d/${i}`, `${i}`.repeat(5000)));
  const pack = (plain: Uint8Array) => new Uint8Array(gzipSync(plain));
  const base = layer([dir("d/"), ...files], pack);
  return ["a", "b"].map((name) => image([base, layer([file(name, name.repeat(500_000))], pack)]));
}

needs(lacksFileSystem("overlay"), "images: commands that are killed at any moment", async () => {
  using store = new TestStore("--driver", "overlay2");
  const random = randomOf(SEED), output = store.path("out.tar");
  const ids = builtImages().map((built, i) => {
    const name = "ab"[i], full = `docker.io/library/${name}:latest`;
    writeFiles(store.path(`${name}.dir`), oneImage(built, full));
    return built.id;
  });
  // The store is there from the beginning.
  store.must("image", "import", store.path("a.dir"));
  const lasted = new Map<string, number>();
  let killed = 0, commands = 0;
  for (; killed < KILLS; commands++) {
    const pattern = COMMANDS[random(COMMANDS.length)], which = "ab"[random(2)];
    const words = pattern.split(" ").map((word) =>
      ({
        "I.dir": store.path(`${which}.dir`),
        I: which,
        N: `n${which}`,
        K: `k${which}`,
        OUT: output,
      })[
        word
      ] ?? word
    );
    const usual = lasted.get(pattern), part = 0.3 + random(1000) / 1000;
    const started = performance.now(), child = start(store, ...words);
    const timer = usual && setTimeout(() => tryKill(child), usual * part);
    const { code, stderr } = await end(child);
    clearTimeout(timer);
    const what = `command ${commands} of seed ${SEED}: veneer ${words.join(" ")}`;
    if (code === 128 + 9) {
      killed++;
      for (const ended of await Promise.all(LOOKS.map((look) => end(start(store, ...look))))) {
        assertEquals([ended.code, ended.stderr], [0, ""], `after ${what} was killed`);
      }
      continue;
    }
    lasted.set(pattern, performance.now() - started);
    const codes = [0, 127, ...ALLOWED.map((code) => EXIT_STATUS[code])] as number[];
    assert(codes.includes(code), `${what}: ${code}: ${stderr}`);
  }
  console.log(`seed ${SEED}: ${killed} of ${commands} commands killed`);

  // Every layer of what is listed is as it came.
  const listed = store.json<{ id: string; names: string[] }[]>("image", "ls");
  for (const { id, names } of listed) {
    store.must("image", "export", id, "-o", output);
    if (names.includes("a:latest") || names.includes("b:latest")) assert(ids.includes(id));
  }
  for (const key of ["ka", "kb"]) {
    store.run("image", "umount", key);
    store.run("snapshot", "rm", key);
  }
  // Whatever was left unfinished goes with the next import.
  store.must("image", "import", store.path("a.dir"));
  for (const { id } of store.json<{ id: string }[]>("image", "ls")) {
    store.must("image", "rm", "--force", id);
  }
  assertEquals([store.json("image", "ls"), store.json("snapshot", "ls")], [[], []]);
  const home = join(store.root, "snapshots/overlay2");
  store.must("snapshot", "cleanup");
  assertEquals([names(join(home, ".veneer/tars")), names(join(home, ".veneer/staging"))], [[], []]);
  assertEquals(isThere(join(home, "mounts")) ? names(join(home, "mounts")) : [], []);
  assertEquals(mountPoints(store.root), []);
});

/** Kills a process, if it has not ended by itself. */
function tryKill(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGKILL");
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
  }
}
