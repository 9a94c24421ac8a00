/**
 * What Veneer does, on a real file system: layers are made, filled, mounted, changed and diffed. Run by `make demo`,
 * which sets VENEER to the command; everything is made in a directory of its own, and goes again. With a path it makes
 * only the tar of its base layer there, for `make base.tar`.
 */
import { expandGlobSync } from "@std/fs";
import { join, resolve } from "@std/path";
import $, { CommandBuilder } from "dax";
import { O_DIRECTORY, O_RDONLY, open, withFd } from "../ffi/files.ts";
import { tryLock } from "../ffi/flock.ts";
import { MNT_DETACH, umount } from "../ffi/mount.ts";
import { readMountInfo } from "../lib/mount/mountinfo.ts";

const PREFIX = "veneer-demo.";

/** Lines of the demo: words of its own behind `# `, else a command as one types it. */
const STEPS = `
# A disk: an ext4 file system in a file.
truncate --size 1G disk.img
mkfs.ext4 -q disk.img
mount -o loop disk.img disk

# A layer, filled from a tar. (veneer stands for: veneer --root disk --driver overlay2)
tar -tf base.tar
veneer create base
veneer apply base base.tar

# A child of it, mounted: one tree, the base's files below and the child's own above.
veneer create child --parent base
mnt=$(veneer mount child)
echo $mnt
cat $mnt/etc/motd

# Change it through the mount: one file written, one made, one removed.
echo "Welcome to the child." >$mnt/etc/motd
mkdir $mnt/srv/www
rm $mnt/srv/old
veneer tree

# What the child changes of its parent, as a list and as a tar.
veneer changes child
veneer diff child -o child.tar
tar -tvf child.tar

# The base has not changed; what the driver knows of itself.
base=$(veneer mount base)
cat $base/etc/motd
veneer umount base
veneer status

# Snapshots, as containerd knows them: prepared under a key, mounted, changed, committed under a name.
veneer snapshot prepare import
veneer snapshot apply import base.tar
veneer snapshot commit base import
veneer snapshot prepare work --parent base
work=$(veneer snapshot mount work)
echo "Changed, and committed." >$work/etc/motd
veneer snapshot umount work
veneer snapshot commit app work
veneer snapshot view look --parent app
veneer snapshot tree
veneer snapshot mounts look /mnt

# And away with it.
veneer umount child
veneer rm child base
veneer snapshot rm look app base
veneer ls
veneer snapshot ls
`;

/** Removes what demos left that were killed: theirs are those whose lock is held. */
function removeLeftovers(): void {
  for (const { path } of expandGlobSync(`/var/tmp/${PREFIX}*`)) {
    withFd(open(path, O_RDONLY | O_DIRECTORY), (fd) => {
      if (tryLock(fd, "exclusive", path)) Deno.removeSync(path, { recursive: true });
    });
  }
}

/** Takes a demo's directory away, and all that is mounted below. */
function cleanUp(directory: string): void {
  for (const { mountPoint } of readMountInfo().reverse()) {
    if (mountPoint.startsWith(`${directory}/`)) umount(mountPoint, MNT_DETACH);
  }
  Deno.removeSync(directory, { recursive: true });
}

/** Makes `base.tar`, which the first layer is filled from. */
async function makeTar(directory: string): Promise<void> {
  const base = $.path(directory).join("base");
  for (const name of ["etc", "bin", "srv"]) base.join(name).mkdirSync({ recursive: true });
  base.join("etc/motd").writeTextSync("Welcome to the base layer.\n");
  base.join("srv/old").writeTextSync("to be removed\n");
  base.join("bin/sh").writeSync(Deno.readFileSync("/bin/sh"), { mode: 0o755 });
  await $`tar -C base -cf base.tar .`.cwd(directory);
}

/** Puts a program in front of all others that runs `veneer` on the demo's store. */
function makeCommand(directory: string, veneer: string): string {
  const programs = join(directory, "bin");
  Deno.mkdirSync(programs);
  // A path may be relative to where the demo was started.
  const command = veneer.replace(/^[^ /]*\/[^ ]*/, (path) => resolve(path));
  const script = `#!/bin/sh\nexec ${command} --root ${directory}/disk --driver overlay2 "$@"\n`;
  Deno.writeTextFileSync(join(programs, "veneer"), script, { mode: 0o755 });
  return programs;
}

/**
 * Shows each command line and runs it, up to one that fails; returns its status. `NAME=$(COMMAND)` is kept for the lines
 * after it.
 */
async function play(directory: string, programs: string): Promise<number> {
  let shell = new CommandBuilder().cwd(directory)
    .env("PATH", `${programs}:${Deno.env.get("PATH")}`);
  for (const line of STEPS.split("\n").slice(0, -1)) {
    if (line === "" || line.startsWith("# ")) {
      console.log(line);
      continue;
    }
    console.log(`$ ${line}`);
    const [, name, command] = /^(\w+)=\$\((.*)\)$/.exec(line) ?? [];
    const run = shell.command(command ?? line).noThrow().stdout(name ? "piped" : "inherit");
    const result = await run;
    if (result.code !== 0) return result.code;
    if (name !== undefined) shell = shell.env(name, result.stdout.trimEnd());
  }
  return 0;
}

/** Makes that tar alone, at a path. */
async function makeTarAt(path: string): Promise<void> {
  const directory = Deno.makeTempDirSync();
  try {
    await makeTar(directory);
    Deno.copyFileSync(join(directory, "base.tar"), path);
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

if (import.meta.main && Deno.args.length > 0) {
  await makeTarAt(Deno.args[0]);
} else if (import.meta.main) {
  const veneer = Deno.env.get("VENEER");
  if (veneer === undefined) throw new Error("VENEER: the command to show, such as dist/veneer");
  removeLeftovers();
  const directory = Deno.makeTempDirSync({ dir: "/var/tmp", prefix: PREFIX });
  const lock = open(directory, O_RDONLY | O_DIRECTORY);
  tryLock(lock, "exclusive", directory);
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => {
      cleanUp(directory);
      Deno.exit(1);
    });
  }
  try {
    Deno.mkdirSync(join(directory, "disk"));
    await makeTar(directory);
    Deno.exitCode = await play(directory, makeCommand(directory, veneer));
  } finally {
    cleanUp(directory);
  }
}
