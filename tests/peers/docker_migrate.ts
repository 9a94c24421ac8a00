/**
 * A Docker root goes from one driver to another: Docker itself finds all that it had, and starts it.
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { type ImageKind, mountImage } from "../runner/images.ts";
import { EXIT_STATUS } from "../../lib/cli/exit_status.ts";
import { must, run, tempDir } from "../support/cases.ts";
import { veneer } from "../support/commands.ts";
import { isThere } from "../support/files.ts";
import { describe } from "../support/tree_entries.ts";
import { Docker, type Driver, makeSystem } from "./docker.ts";
import { withoutHiddenNames } from "./trees.ts";

/** All columns of a list of images but their age. */
const IMAGE = "{{.Repository}}:{{.Tag}} {{.Digest}} {{.ID}} {{.CreatedAt}} {{.Size}}";

/** What Docker says of its images and containers, and the trees that these show. */
function told(docker: Docker, scratch: string): Record<string, unknown> {
  const trees = ["box", "fresh"].map((name) => {
    const tree = join(scratch, crypto.randomUUID());
    Deno.mkdirSync(tree);
    docker.must("export", "-o", `${tree}.tar`, name);
    must("tar", "-C", tree, "--xattrs", "--xattrs-include=*", "-xf", `${tree}.tar`);
    return withoutHiddenNames(describe(tree));
  });
  const lines = (...args: string[]) => docker.must(...args).split("\n").sort();
  return {
    images: lines("images", "--all", "--no-trunc", "--format", IMAGE),
    history: lines("history", "--no-trunc", "--format", "{{.ID}} {{.Size}}", "built:1"),
    containers: lines("ps", "--all", "--no-trunc", "--format", "{{.ID}} {{.Names}} {{.Image}}"),
    diff: lines("diff", "box"),
    trees,
  };
}

/** Makes images and containers in every state that outlives a daemon. */
function make(docker: Docker, scratch: string): void {
  const base = join(scratch, "base"), context = join(scratch, "context");
  makeSystem(base, ["sh", "cat", "rm", "mkdir", "ln"]);
  for (const path of ["etc", "opaque/below"]) Deno.mkdirSync(join(base, path), { recursive: true });
  Deno.writeTextFileSync(join(base, "etc/issue"), "Docker\n");
  Deno.writeTextFileSync(join(base, "etc/gone"), "gone\n");
  Deno.writeTextFileSync(join(base, "opaque/below/file"), "hidden\n");
  Deno.linkSync(join(base, "etc/issue"), join(base, "etc/linked"));
  must("setfattr", "-n", "user.note", "-v", "kept", join(base, "etc/issue"));
  must("tar", "-C", base, "--xattrs", "-cf", join(scratch, "base.tar"), ".");
  docker.must("import", join(scratch, "base.tar"), "base");
  Deno.mkdirSync(context);
  Deno.writeTextFileSync(
    join(context, "Dockerfile"),
    "FROM base\nRUN rm /etc/gone; rm -r /opaque; mkdir /opaque; echo new >/opaque/new\n" +
      "RUN ln /etc/linked /etc/third\nCMD cat /own",
  );
  docker.must("build", "--quiet", "--network", "none", "-t", "built:1", context);
  const words = "echo own >>/own; rm -f /etc/issue; echo changed >/opaque/new; cat /own";
  docker.must("run", "--name", "box", "--network", "none", "built:1", "/bin/sh", "-c", words);
  docker.must(
    "create",
    "--name",
    "fresh",
    "--network",
    "none",
    "built:1",
    "/bin/cat",
    "/opaque/new",
  );
}

/** A way from a driver to another one on the same disk. */
export interface Way {
  readonly disk: ImageKind;
  readonly from: Driver;
  readonly to: Driver;
  /** Of the daemon on the first driver. */
  readonly options?: readonly string[];
  /** Of Veneer. */
  readonly ours?: readonly string[];
  /** Words of both daemons. */
  readonly args?: readonly string[];
  /** The id that root is mapped to, which `args` must say. */
  readonly rootId?: number;
}

/** Migrates what a daemon made, and looks at it with a daemon on the other driver. */
export async function checkMigration(
  { disk: kind, from, to, options = [], ours = [], args = [], rootId }: Way,
): Promise<void> {
  using dir = tempDir("d-");
  using disk = mountImage(kind, dir.path, 4 * 2 ** 30);
  const scratch = join(dir.path, "scratch"), place = join(disk.mountPoint, "docker");
  Deno.mkdirSync(scratch);
  // The root of a user namespace has to pass.
  Deno.chmodSync(dir.path, 0o711);
  const started = (driver: Driver) => {
    const docker = new Docker(place, driver, driver === from ? options : [], { args });
    docker.start();
    return docker;
  };
  let before: Record<string, unknown>, root: string;
  const range = `0:${rootId}:65536`;
  const maps = rootId === undefined ? [] : ["--uidmap", range, "--gidmap", range];
  const migrate = (...more: string[]) => {
    const given = ours.flatMap((option) => ["-o", option]);
    return veneer("migrate", "--docker", root, "--to", to, ...given, ...maps, ...more);
  };
  {
    await using docker = started(from);
    root = join(docker.root, rootId === undefined ? "." : `${rootId}.${rootId}`);
    make(docker, scratch);
    before = told(docker, scratch);
    const refused = migrate();
    assertEquals(refused.code, EXIT_STATUS["in use"]);
    assertMatch(refused.stderr, /^veneer: dockerd \(pid \d+\) runs on \S+: stop it first\n$/);
  }
  const configs = () => must("sh", "-c", 'cat "$0"/containers/*/config.v2.json', root);
  const first = configs();
  const ran = migrate("--verify");
  assertEquals([ran.code, ran.stderr], [0, ""]);
  assertMatch(
    ran.stdout,
    /^(\d+) layers migrated .*, \1 compared and the same, 2 containers taken/,
  );
  console.log(ran.stdout);
  assertEquals(configs(), first.replaceAll(`"Driver":"${from}"`, `"Driver":"${to}"`));
  {
    await using docker = started(to);
    assertEquals(told(docker, scratch), before);
    assertEquals(docker.must("info", "--format", "{{.Driver}}"), to);
    assertEquals(docker.must("start", "--attach", "box"), "own\nown");
    assertEquals(docker.must("start", "--attach", "fresh"), "new");
    assertEquals(docker.sh("built:1", "cat /opaque/new; cat /etc/third"), "new\nDocker");
  }
  // Again it does nothing; then the old driver's part goes, and Docker does not miss it.
  const again = migrate();
  assertEquals([again.code, again.stderr], [0, ""]);
  assertStringIncludes(again.stdout, "0 layers migrated");
  const kept = [...Deno.readDirSync(join(root, "containers"))].map(({ name }) =>
    join(root, "containers", name, `config.v2.json.${from}`)
  );
  assert(kept.every(isThere) && isThere(join(root, "image", from)));
  const finished = migrate("--finish");
  assertEquals([finished.code, finished.stderr], [0, ""]);
  for (const path of [...kept, join(root, from), join(root, "image", from)]) {
    assert(!isThere(path), path);
  }
  if (from === "btrfs") assertEquals(run("btrfs", "subvolume", "list", place).stdout, "");
  {
    await using docker = started(to);
    assertEquals(docker.must("start", "--attach", "fresh"), "new");
    assertEquals(docker.must("diff", "box").split("\n").sort(), before.diff);
  }
}
