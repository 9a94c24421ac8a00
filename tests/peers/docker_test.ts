/**
 * One store, two programs: what Docker's overlay2 driver made is listed, mounted, diffed and extended here, and
 * Docker goes on with it; what is made here has the layout that Docker reads.
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { lsetxattr } from "../../ffi/xattr.ts";
import { veneer } from "../support/commands.ts";
import { mountPoints, must, needs, tempDir } from "../support/cases.ts";
import { chown, describe, makeNode } from "../support/tree_entries.ts";
import { S_IFCHR, S_IFIFO } from "../../ffi/names.ts";
import { Docker, lacksDocker, makeSystem, parentsByDocker, veneerBeside } from "./docker.ts";
import { CAP_NET_RAW } from "./rich_tree.ts";
import { contentOf, inSeconds, namesIn, withoutHiddenNames } from "./trees.ts";

const lacking = await lacksDocker();

/** A store by Docker: the ids of layers that a case asks for, and what Docker says of them. */
interface Made {
  readonly docker: Docker;
  /** Where `docker save` laid the image out. */
  readonly saved: string;
  /** The tar of `docker export`. */
  readonly exported: string;
  readonly diff: string;
  readonly images: string;
}

const LISTING = "cat /etc/issue /copied /two/three/four /ran; echo /opaque/*; /bin/ls -l /etc/gone";

/** Imports, builds and commits, with every kind of entry and deletion that a layer may hold. */
function make(docker: Docker, scratch: string): Made {
  const path = (name: string) => join(scratch, name);
  const base = path("base");
  makeSystem(base, ["sh", "cat", "ls", "rm", "mkdir", "ln", "chmod", "mkfifo"]);
  Deno.mkdirSync(join(base, "etc"));
  Deno.mkdirSync(join(base, "opaque/below"), { recursive: true });
  Deno.writeTextFileSync(join(base, "etc/issue"), "Docker\n");
  Deno.writeTextFileSync(join(base, "etc/gone"), "gone\n");
  Deno.writeTextFileSync(join(base, "opaque/below/file"), "hidden\n");
  Deno.linkSync(join(base, "etc/issue"), join(base, "etc/issue.net"));
  Deno.symlinkSync("../etc/issue", join(base, "opaque/link"));
  Deno.chmodSync(join(base, "bin/ln"), 0o4755);
  chown(join(base, "etc/gone"), 1000, 100);
  makeNode(join(base, "null"), S_IFCHR | 0o666, 1, 3);
  makeNode(join(base, "fifo"), S_IFIFO | 0o600);
  lsetxattr(join(base, "bin/cat"), "security.capability", CAP_NET_RAW);
  must("tar", "-C", base, "--xattrs", "--xattrs-include=*", "-cf", path("base.tar"), ".");
  docker.must("import", path("base.tar"), "base");

  const context = path("context");
  Deno.mkdirSync(join(context, "three"), { recursive: true });
  Deno.writeTextFileSync(join(context, "copied"), "copied\n");
  Deno.writeTextFileSync(join(context, "three/four"), "four\n");
  Deno.writeTextFileSync(
    join(context, "Dockerfile"),
    [
      "FROM base",
      "COPY copied /copied",
      "RUN echo ran >/ran; rm /etc/gone; rm -r /opaque; mkdir -m 1777 /opaque; echo new >/opaque/new",
      "COPY three /two/three",
      "RUN ln /copied /two/linked; ln -s nowhere /two/dangling; mkfifo /two/fifo; rm /etc/issue.net",
    ].join("\n"),
  );
  docker.must("build", "--quiet", "--network", "none", "-t", "built", context);

  docker.must("create", "--name", "box", "--network", "none", "built", "/bin/sh", "-c", LISTING);
  docker.must("cp", join(context, "copied"), "box:/etc/by-cp");
  docker.must("commit", "box", "kept");
  docker.must("cp", join(context, "three"), "box:/three");

  docker.must("save", "-o", path("saved.tar"), "kept");
  Deno.mkdirSync(path("saved"));
  must("tar", "-C", path("saved"), "-xf", path("saved.tar"));
  docker.must("export", "-o", path("exported.tar"), "box");
  return {
    docker,
    saved: path("saved"),
    exported: path("exported.tar"),
    diff: sorted(docker.must("diff", "box")),
    images: imagesOf(docker),
  };
}

const imagesOf = (docker: Docker) =>
  sorted(docker.must("images", "--no-trunc", "--format", "{{.ID}} {{.Repository}} {{.Size}}"));

const sorted = (lines: string) => lines.trim().split("\n").sort().join("\n");

/** Runs a command on Docker's store that must succeed without a word on standard error. */
function onDockers(root: string, ...args: string[]): string {
  const { code, stdout, stderr } = veneerBeside({ root, driver: "overlay2" }, ...args);
  assertEquals({ code, stderr }, { code: 0, stderr: "" }, `veneer ${args.join(" ")}`);
  return stdout;
}

const treeOf = (root: string) => withoutHiddenNames(inSeconds(describe(root)));

function listsWithParents({ docker }: Made): void {
  const layers: { id: string; parent: string }[] = JSON.parse(
    onDockers(docker.root, "--json", "ls"),
  );
  const { images, containers } = parentsByDocker(docker.root);
  assertEquals(Object.keys(images).length, 6, "base, four that were built on it, kept");
  assertEquals(Object.keys(containers).length, 2, "the box, and what Docker puts below it");
  const expected = { ...images, ...containers };
  assertEquals(Object.fromEntries(layers.map(({ id, parent }) => [id, parent])), expected);
}

/** The box's own layer. */
function boxLayer(root: string): string {
  const mounts = join(root, "image/overlay2/layerdb/mounts");
  const [box] = Deno.readDirSync(mounts);
  return Deno.readTextFileSync(join(mounts, box.name, "mount-id"));
}

function mountsAsExported({ docker: { root }, exported }: Made): void {
  const box = boxLayer(root);
  for (const options of [[], ["--read-only"]]) {
    const merged = onDockers(root, "mount", box, ...options).trimEnd();
    assertEquals(treeOf(merged), contentOf(exported));
    onDockers(root, "umount", box);
  }
}

/** Layers of a saved image, lowest first, beside their ids. */
function savedLayers({ docker: { root }, saved }: Made): { id: string; tar: string }[] {
  const [{ Layers }] = JSON.parse(Deno.readTextFileSync(join(saved, "manifest.json")));
  const parents = Object.entries(parentsByDocker(root).images);
  const layers: { id: string; tar: string }[] = [];
  for (const file of Layers) {
    const below = layers.at(-1)?.id ?? "";
    const [id] = parents.find(([, parent]) => parent === below)!;
    layers.push({ id, tar: join(saved, file) });
  }
  return layers;
}

function diffsAsSaved(made: Made): void {
  const { root } = made.docker;
  using dir = tempDir("diff-");
  const own = join(dir.path, "own.tar");
  const layers = savedLayers(made);
  assertEquals(layers.length, 6);
  for (const { id, tar } of layers) {
    onDockers(root, "diff", id, "--output", own);
    assertEquals(namesIn(own), namesIn(tar));
    assertEquals(contentOf(own), contentOf(tar));
  }
  const whiteouts = layers.flatMap(({ tar }) => namesIn(tar)).filter((name) => /\.wh\./.test(name));
  assertEquals(whiteouts, ["etc/.wh.gone", "opaque/.wh..wh..opq", "etc/.wh.issue.net"]);
  assertEquals(sorted(onDockers(root, "changes", boxLayer(root))), made.diff);
}

/** A layer on Docker's uppermost image, written to. */
function extends_(made: Made): void {
  const { root } = made.docker;
  const top = savedLayers(made).at(-1)!.id;
  onDockers(root, "create", "child", "--parent", top);
  const merged = onDockers(root, "mount", "child").trimEnd();
  assertEquals(must("chroot", merged, "/bin/sh", "-c", "cat /etc/by-cp /ran"), "copied\nran\n");
  Deno.writeTextFileSync(join(merged, "etc/issue"), "Veneer\n");
  Deno.removeSync(join(merged, "opaque"), { recursive: true });
  onDockers(root, "umount", "child");
  assertEquals(onDockers(root, "changes", "child"), "C /etc\nC /etc/issue\nD /opaque\n");
  const lower = Deno.readTextFileSync(join(root, "overlay2/child/lower"));
  const links = [top, ...ancestors(root, top)]
    .map((id) => `l/${Deno.readTextFileSync(join(root, "overlay2", id, "link"))}`);
  assertEquals(lower, links.join(":"));
}

function ancestors(root: string, id: string): string[] {
  const parent = parentsByDocker(root).images[id];
  return parent === "" ? [] : [parent, ...ancestors(root, parent)];
}

/** Docker finds all as it left it, and goes on. */
function runsAsBefore({ docker, exported, diff, images }: Made, scratch: string): void {
  assertEquals(imagesOf(docker), images);
  assertEquals(sorted(docker.must("diff", "box")), diff);
  const again = join(scratch, "again.tar");
  docker.must("export", "-o", again, "box");
  assertEquals(contentOf(again), contentOf(exported));
  const ran = docker.try("start", "-a", "box");
  assertEquals(ran.stdout, "Docker\ncopied\nfour\nran\n/opaque/new\n");
  assertMatch(ran.stderr, /\/etc\/gone'?: No such file/);
  assertEquals(
    docker.sh("kept", "cat /etc/by-cp; echo x >/etc/by-cp; cat /etc/by-cp"),
    "copied\nx",
  );
  docker.must("cp", "box:/opaque/new", join(scratch, "new"));
  assertEquals(Deno.readTextFileSync(join(scratch, "new")), "new\n");
  Deno.writeTextFileSync(join(scratch, "context/Dockerfile"), "FROM kept\nRUN cat /ran >/more\n");
  docker.must("build", "-q", "--network", "none", "-t", "more", join(scratch, "context"));
  assertEquals(docker.sh("more", "cat /more"), "ran");
}

const DOCKERD = /^veneer: warning: dockerd \(pid \d+\) runs on this store\n/;

/** A running container's root stays mounted, whatever is asked for, and so does all that it wrote. */
function leavesContainersAlone(docker: Docker): void {
  const run = ["run", "--detach", "--interactive", "--network", "none", "--name", "runs"];
  docker.must(...run, "more", "/bin/sh", "-c", "echo written >/own; exec cat");
  const merged = docker.must("inspect", "-f", "{{.GraphDriver.Data.MergedDir}}", "runs").trim();
  const layer = merged.split("/").at(-2)!;
  const options = ["--root", docker.root, "--driver", "overlay2"];
  for (const command of ["rm", "umount", "mount"]) {
    const { code, stderr } = veneer(...options, command, layer);
    assertEquals(code, 5, stderr);
    assertMatch(stderr, DOCKERD);
    const [, line] = stderr.split("\n");
    assertStringIncludes(line, `layer ${layer} is mounted by somebody else at ${merged}`);
  }
  const cleaned = veneer(...options, "cleanup");
  assertEquals([cleaned.code, cleaned.stdout], [0, ""]);
  assertStringIncludes(cleaned.stderr, "mounted by another program and left alone");
  assertEquals(docker.must("exec", "runs", "/bin/cat", "/own"), "written");
  assertEquals(docker.must("diff", "runs"), "A /own");
  docker.must("rm", "--force", "runs");
}

needs(
  lacking,
  "docker: its store is listed, mounted, diffed and extended, and Docker still runs on it",
  async () => {
    using dir = tempDir("docker-");
    await using docker = new Docker(dir.path);
    const { root } = docker;
    docker.start();
    const scratch = join(dir.path, "scratch");
    Deno.mkdirSync(scratch);
    const made = make(docker, scratch);
    await docker.stop();

    listsWithParents(made);
    mountsAsExported(made);
    diffsAsSaved(made);
    extends_(made);
    onDockers(root, "cleanup");
    assertEquals(mountPoints(dir.path), []);

    docker.start();
    runsAsBefore(made, scratch);
    leavesContainersAlone(docker);
    docker.must("rm", "box");
    docker.must("rmi", "more", "kept", "built", "base");
    // Docker does not know that a layer stood on its own.
    const removed = veneer("--root", root, "--driver", "overlay2", "rm", "child");
    assertEquals(removed.code, 0);
    assertMatch(removed.stderr, DOCKERD);
    assertEquals(onDockers(root, "ls", "--quiet"), "");
    await docker.stop();
    const left = [...Deno.readDirSync(join(root, "overlay2"))].map(({ name }) => name).sort();
    assertEquals(left, [".veneer", "l"]);
    assertEquals([...Deno.readDirSync(join(root, "overlay2/l"))], []);
    onDockers(root, "cleanup");
    assertEquals(mountPoints(dir.path), []);
  },
);

needs(lacking, "docker: a store made here has the bytes that Docker expects", () => {
  using dir = tempDir("layout-");
  const home = join(dir.path, "overlay2");
  const read = (path: string) => Deno.readTextFileSync(join(home, path));
  for (const [id, ...parent] of [["base"], ["app", "base"], ["top", "app"]]) {
    onDockers(dir.path, "create", id, ...parent.flatMap((id) => ["--parent", id]));
  }
  const names = ["base", "app", "top"].map((id) => read(`${id}/link`));
  for (const name of names) assertMatch(name, /^[A-Z2-7]{26}$/);
  const [base, app, top] = names;
  assertEquals(read("app/lower"), `l/${base}`);
  assertEquals(read("top/lower"), `l/${app}:l/${base}`);
  const found = must("sh", "-c", `cd "$0" && find . -printf '%P %y %m %U:%G %s %l\\n'`, home);
  const own = found.split("\n").filter((line) => !/^\.veneer\b/.test(line) && line !== "")
    .map((line) => line.replace(/^(.* d \d+ \d+:\d+) \d+ $/, "$1"));
  assertEquals(
    own.sort(),
    [
      " d 710 0:0",
      "app d 710 0:0",
      "app/committed f 600 0:0 0 ",
      "app/diff d 755 0:0",
      "app/link f 644 0:0 26 ",
      "app/lower f 644 0:0 28 ",
      "app/work d 700 0:0",
      "base d 710 0:0",
      "base/committed f 600 0:0 0 ",
      "base/diff d 755 0:0",
      "base/link f 644 0:0 26 ",
      "l d 700 0:0",
      `l/${app} l 777 0:0 11 ../app/diff`,
      `l/${base} l 777 0:0 12 ../base/diff`,
      `l/${top} l 777 0:0 11 ../top/diff`,
      "top d 710 0:0",
      "top/diff d 755 0:0",
      "top/link f 644 0:0 26 ",
      "top/lower f 644 0:0 57 ",
      "top/work d 700 0:0",
    ].sort(),
  );
  assert(!mountPoints(dir.path).some((point) => point.endsWith("merged")));
  onDockers(dir.path, "cleanup");
});
