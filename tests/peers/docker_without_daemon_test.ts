/**
 * Docker's stores without Docker: what its daemon made is listed and written out once that has
 * ended, with Docker's own ids, and nothing below its directory is changed by that.
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { mountImage } from "../runner/images.ts";
import { lacksFileSystem, lacksProgram, must, needs, tempDir } from "../support/cases.ts";
import { PROGRAM, veneer } from "../support/commands.ts";
import { describe } from "../support/tree_entries.ts";
import { Docker, lacksDocker, makeSystem } from "./docker.ts";
import { inSeconds, withoutHiddenNames } from "./trees.ts";

const lacking = await lacksDocker();

/** Reads without changing a time: `find` and `sha256sum` change times of access. */
const MANIFEST = `
import hashlib, os, sys
NOATIME = os.O_RDONLY | os.O_NOATIME | os.O_NOFOLLOW
def show(path):
    s = os.lstat(path)
    xattrs = [(n, os.getxattr(path, n, follow_symlinks=False))
              for n in sorted(os.listxattr(path, follow_symlinks=False))]
    row = [path, oct(s.st_mode), s.st_uid, s.st_gid, s.st_nlink, s.st_size, s.st_ino,
           s.st_atime_ns, s.st_mtime_ns, s.st_ctime_ns, xattrs]
    kind = s.st_mode & 0o170000
    if kind == 0o100000:
        f = os.open(path, NOATIME)
        h = hashlib.sha256()
        while b := os.read(f, 1 << 20): h.update(b)
        os.close(f)
        row.append(h.hexdigest())
    print(*row)
    if kind == 0o040000:
        f = os.open(path, NOATIME)
        names = sorted(os.listdir(f))
        os.close(f)
        for name in names: show(path + "/" + name)
show(sys.argv[1])
`;

/** Names, times, owners, attributes and content of all below a store. */
const manifestOf = (root: string): string[] => must("python3", "-c", MANIFEST, root).split("\n");

/** What a store holds, by Docker itself. */
interface Told {
  readonly images: string;
  readonly box: string;
  readonly diff: string;
  readonly shown: readonly string[];
}

const lines = (text: string) => text.split("\n").filter(Boolean).sort();

function make(docker: Docker, scratch: string): Told {
  const base = join(scratch, "base"), context = join(scratch, "context");
  makeSystem(base, ["sh", "cat", "rm", "mkdir"]);
  for (const path of ["etc", "opaque/below"]) Deno.mkdirSync(join(base, path), { recursive: true });
  Deno.writeTextFileSync(join(base, "etc/issue"), "Docker\n");
  Deno.writeTextFileSync(join(base, "etc/gone"), "gone\n");
  Deno.writeTextFileSync(join(base, "opaque/below/file"), "hidden\n");
  Deno.linkSync(join(base, "etc/issue"), join(base, "etc/linked"));
  must("tar", "-C", base, "-cf", join(scratch, "base.tar"), ".");
  docker.must("import", join(scratch, "base.tar"), "base");
  Deno.mkdirSync(context);
  Deno.writeTextFileSync(
    join(context, "Dockerfile"),
    "FROM base\nRUN rm /etc/gone; rm -r /opaque; mkdir /opaque; echo new >/opaque/new\nCMD cat /own",
  );
  docker.must("build", "--quiet", "--network", "none", "-t", "built:1", context);
  const run = "echo own >/own; rm /etc/issue; echo changed >/opaque/new";
  docker.must("run", "--name", "box", "--network", "none", "built:1", "/bin/sh", "-c", run);
  const exported = join(scratch, "exported"), tar = `${exported}.tar`;
  docker.must("export", "-o", tar, "box");
  Deno.mkdirSync(exported);
  must("tar", "-C", exported, "-xf", tar);
  return {
    images: docker.must("images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"),
    box: docker.must("inspect", "--format", "{{.Id}} {{.Name}}", "box"),
    diff: docker.must("diff", "box"),
    shown: withoutHiddenNames(inSeconds(describe(exported))),
  };
}

const succeed = (...args: string[]): string => {
  const { code, stdout, stderr } = veneer(...args);
  assertEquals({ code, stderr }, { code: 0, stderr: "" }, args.join(" "));
  return stdout;
};

async function checkStore(driver: "overlay2" | "btrfs"): Promise<void> {
  using dir = tempDir("d-");
  const scratch = join(dir.path, "scratch");
  Deno.mkdirSync(scratch);
  using disk = mountImage(driver === "btrfs" ? "btrfs" : "ext4", dir.path, 4 * 2 ** 30);
  // So that whatever is read would have another time of access.
  must("mount", "-o", "remount,strictatime", disk.mountPoint);
  await using docker = new Docker(join(disk.mountPoint, "docker"), driver);
  docker.start();
  const told = make(docker, scratch);
  const from = ["--docker", docker.root];
  const beside = veneer("image", "ls", ...from);
  assertMatch(beside.stderr, /^veneer: dockerd \(pid \d+\) runs on \S+: stop it first\n$/);
  await docker.stop();
  const before = manifestOf(docker.root);

  const images: { id: string; names: string[]; created: string }[] = JSON.parse(
    succeed("image", "ls", ...from, "--json"),
  );
  const listed = images.flatMap(({ id, names }) => names.map((name) => `${name} ${id}`));
  assertEquals(listed.sort(), lines(told.images));
  const [box] = JSON.parse(succeed("container", "ls", ...from, "--size", "--json"));
  assertEquals(`${box.id} /${box.name}`, told.box);
  assertEquals(box.size, "own\nchanged\n".length);
  assertEquals(lines(succeed("container", "diff", ...from, "box")), lines(told.diff));

  const shown = join(scratch, "shown"), tar = `${shown}.tar`, image = join(scratch, "image.tar");
  succeed("container", "export", ...from, "box", "-o", tar);
  Deno.mkdirSync(shown);
  must("tar", "-C", shown, "-xf", tar);
  const hidden = /"\/(dev|etc|proc|sys|\.dockerenv)(\/[^"]*)?"/;
  const compared = (all: readonly string[]) => all.filter((line) => !hidden.test(line));
  assertEquals(compared(withoutHiddenNames(inSeconds(describe(shown)))), compared(told.shown));
  // A program that is killed here leaves no mount.
  const meanwhile = must(
    "sh",
    "-c",
    '"$@" | { head -c 512 >/dev/null; cat /proc/self/mountinfo; cat >/dev/null; }',
    "sh",
    ...PROGRAM,
    ...["container", "export", ...from, "box"],
  );
  assertStringIncludes(meanwhile, disk.mountPoint);
  assert(!meanwhile.includes("/veneer-docker-"), meanwhile);
  succeed("image", "export", ...from, "built:1", "-o", image);
  const root = join(dir.path, "veneer");
  const own = ["--root", root, "--driver", "overlay2"];
  const imported = succeed("image", "import", ...own, ...from, "built:1").trim();
  assertEquals(imported, lines(told.images).find((line) => line.startsWith("built:1")));
  const exec = succeed("image", "exec", ...own, "built:1", "--", "/bin/cat", "/opaque/new");
  assertEquals(exec, "new\n");
  const saved = join(scratch, "saved.tar"), commit = ["--name", "saved:1", "--change", "ENV A=1"];
  const committed = succeed("container", "commit", ...own, ...from, "box", ...commit).trim();
  succeed("image", "export", ...own, "saved:1", "-o", saved);
  assertEquals(manifestOf(docker.root), before);

  // A file that is not as Docker made it is named, and nothing is written.
  const [gone] = must("find", join(docker.root, driver), "-path", "*/etc/gone", "-type", "f")
    .split("\n");
  Deno.writeTextFileSync(gone, "gonf\n");
  const refused = veneer("image", "export", ...from, "built:1", "-o", `${image}.2`);
  assertEquals(refused.code, 10);
  assertMatch(refused.stderr, /layer sha256:\w+: \/etc\/gone has other content than it had\n$/);
  assert(!Deno.readDirSync(scratch).some(({ name }) => name === "image.tar.2"));
  Deno.writeTextFileSync(gone, "gone\n");

  docker.start();
  docker.must("rm", "box");
  docker.must("rmi", "built:1", "base");
  assertMatch(docker.must("load", "-i", image), /Loaded image: built:1/);
  assertMatch(docker.must("load", "-i", saved), /Loaded image: saved:1/);
  const shows = docker.must("images", "--no-trunc", "--format", "{{.ID}}", "saved");
  assertEquals(`saved:1 ${shows}`, committed);
  const ran = "cat /own /opaque/new; echo $A; cat /etc/issue";
  const said = docker.must(
    "run",
    "--rm",
    "--network",
    "none",
    "saved:1",
    "/bin/sh",
    "-c",
    `${ran} || :`,
  );
  assertEquals(said, "own\nchanged\n1");
  const id = docker.must("images", "--no-trunc", "--format", "{{.ID}}", "built");
  assertEquals(`built:1 ${id}`, imported);
  veneer("cleanup", "--root", root);
}

for (const driver of ["overlay2", "btrfs"] as const) {
  const lacks = driver === "btrfs"
    ? lacksFileSystem("btrfs") ?? lacksProgram("mkfs.btrfs")
    : lacksProgram("mkfs.ext4");
  needs(
    lacking ?? lacks,
    `Docker's store of ${driver} is read without its daemon, and nothing of it changes`,
    () => checkStore(driver),
  );
}
