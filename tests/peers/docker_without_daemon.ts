/**
 * A store that Docker's daemon made is read once that has ended: what the daemon said of it is
 * found, with Docker's own ids, and nothing below its directory is changed by that.
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { deviceNames } from "../drivers/devicemapper/support.ts";
import { mountImage } from "../runner/images.ts";
import { must, run, tempDir } from "../support/cases.ts";
import { PROGRAM, veneer } from "../support/commands.ts";
import { until } from "../support/processes.ts";
import { describe } from "../support/tree_entries.ts";
import { Docker, type Driver, makeSystem } from "./docker.ts";
import { inSeconds, withoutHiddenNames } from "./trees.ts";

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

/** A file that is not as Docker made it is named, and nothing is written. */
function refusesChanged(
  root: string,
  driver: Driver,
  from: readonly string[],
  output: string,
): void {
  const [gone] = must("find", join(root, driver), "-path", "*/etc/gone", "-type", "f")
    .split("\n");
  Deno.writeTextFileSync(gone, "gonf\n");
  const refused = veneer("image", "export", ...from, "built:1", "-o", output);
  assertEquals(refused.code, 10);
  assertMatch(refused.stderr, /layer sha256:\w+: \/etc\/gone has other content than it had\n$/);
  assert(!run("test", "-e", output).success);
  Deno.writeTextFileSync(gone, "gone\n");
}

/** The devices of commands that read a store. */
const ownDevices = () => deviceNames().filter((name) => name.startsWith("veneer-docker-"));

/**
 * A killed command leaves no device, and a pool that is in use is not read.
 *
 * @param pool the name of the pool on devices, if it is on such
 */
async function leavesNothing(
  root: string,
  from: readonly string[],
  pool?: string,
): Promise<void> {
  const [program, ...first] = PROGRAM;
  const { stdout, ...child } = new Deno.Command(program, {
    args: [...first, "container", "export", ...from, "box"],
    stdin: "null",
    stdout: "piped",
  }).spawn();
  const output = stdout.getReader();
  await output.read();
  assert(ownDevices().length > 0);
  run("kill", "-9", `${child.pid}`);
  await output.cancel();
  await until("the removal of all devices", () => ownDevices().length === 0);
  await until("that of loop devices", () => !run("losetup", "--all").stdout.includes(root));
  const own = [
    ...["--root", root, "--driver", "devicemapper"],
    ...pool === undefined ? [] : ["-o", `dm.thinpooldev=${pool}`],
  ];
  const ids = succeed("ls", "--quiet", ...own).split("\n");
  succeed("mount", ids[0], ...own);
  const refused = veneer("container", "diff", ...from, "box");
  assertMatch(
    refused.stderr,
    pool === undefined
      ? /^veneer: the pool docker-\S+-pool of \S+ is active: .*\n$/
      : /^veneer: devices of pool \S+ are active: end what uses them\n$/,
  );
  succeed("umount", ids[0], ...own);
  succeed("cleanup", ...own);
}

/** A thin pool on devices. */
export interface DevicePool {
  readonly name: string;
  /** The content of its devices, for a comparison. */
  content(): string;
}

/**
 * Makes a store with a daemon, stops that, and checks all that is read.
 *
 * @param options of the storage driver
 * @param pool the pool of devicemapper, if it is on devices
 */
export async function checkStore(
  driver: Driver,
  options: readonly string[] = [],
  pool?: DevicePool,
): Promise<void> {
  using dir = tempDir("d-");
  const scratch = join(dir.path, "scratch");
  Deno.mkdirSync(scratch);
  using disk = mountImage(driver === "btrfs" ? "btrfs" : "ext4", dir.path, 4 * 2 ** 30);
  // So that whatever is read would have another time of access.
  must("mount", "-o", "remount,strictatime", disk.mountPoint);
  await using docker = new Docker(join(disk.mountPoint, "docker"), driver, options);
  docker.start();
  const told = make(docker, scratch);
  const onDevices = pool === undefined ? [] : ["--docker-pool", pool.name];
  const from = ["--docker", docker.root], withFiles = [...from, ...onDevices];
  const beside = veneer("image", "ls", ...from);
  assertMatch(beside.stderr, /^veneer: dockerd \(pid \d+\) runs on \S+: stop it first\n$/);
  await docker.stop();
  const before = manifestOf(docker.root), content = pool?.content();

  const images: { id: string; names: string[]; created: string }[] = JSON.parse(
    succeed("image", "ls", ...from, "--json"),
  );
  const listed = images.flatMap(({ id, names }) => names.map((name) => `${name} ${id}`));
  assertEquals(listed.sort(), lines(told.images));
  const [box] = JSON.parse(succeed("container", "ls", ...withFiles, "--size", "--json"));
  assertEquals(`${box.id} /${box.name}`, told.box);
  assertEquals(box.size, "own\nchanged\n".length);
  assertEquals(lines(succeed("container", "diff", ...withFiles, "box")), lines(told.diff));

  const shown = join(scratch, "shown"), tar = `${shown}.tar`, image = join(scratch, "image.tar");
  succeed("container", "export", ...withFiles, "box", "-o", tar);
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
    ...["container", "export", ...withFiles, "box"],
  );
  assertStringIncludes(meanwhile, disk.mountPoint);
  assert(!meanwhile.includes("/veneer-docker-"), meanwhile);
  succeed("image", "export", ...withFiles, "built:1", "-o", image);
  if (pool !== undefined) {
    assertEquals(manifestOf(docker.root), before);
    assertEquals(pool.content(), content);
    const { code, stderr } = veneer("container", "diff", ...from, "box");
    assertEquals(code, 3);
    assertMatch(
      stderr,
      /^veneer: \S+ is missing: the pool is on devices; name it with --docker-pool NAME, or .*\n$/,
    );
    // The rest is as with a pool in files.
    return await leavesNothing(docker.root, withFiles, pool.name);
  }
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

  if (driver === "devicemapper") {
    await leavesNothing(docker.root, from);
    // What follows would take long in a guest.
    return void veneer("cleanup", "--root", root);
  }
  refusesChanged(docker.root, driver, from, `${image}.2`);

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
