/**
 * Flushing pseudo-links, on directories that stand for a branch and for what is mounted of it.
 *
 * The links are real, and so is what is done to them. A plain file stands for `/proc/fs/aufs/plink_maint`, to
 * show what is written to it and when; it cannot show that aufs takes that, that it keeps others out until the
 * descriptor is closed, or that touching a name makes it a link to the copy. `aufs_conformance_test.ts` shows
 * that, on a kernel that has aufs.
 */
// @runs on ext4
// @runs long on xfs, btrfs
import { assert, assertEquals, assertThrows } from "@std/assert";
import { flushPseudoLinks, forgetPseudoLinks } from "../../../drivers/aufs/plink.ts";
import { SyscallError } from "../../../ffi/errno.ts";
import { mount } from "../../../ffi/mount.ts";
import { performPlan, undoPlan } from "../../../lib/mount/plan.ts";
import { type MountInfo, parseMountInfo } from "../../../lib/mount/mountinfo.ts";
import { lacksProgram, must, type TempDir } from "../../support/cases.ts";
import { names, read } from "../../support/files.ts";
import { chain, inode, open, Recorder, remember, test } from "./support.ts";

/** As mountinfo shows a mount of aufs (`aufs_show_options` in `fs/aufs/super.c`). */
const aufsAt = (path: string, options = "rw,si=5d9b2c0fa1e3,dio,dirperm1"): MountInfo =>
  parseMountInfo(`71 29 0:45 / ${path} rw,relatime - aufs none ${options}`);

/** A branch and its mount: `linked` and `below/linked` are one file, which aufs remembers. */
interface Linked {
  readonly branch: string;
  readonly root: string;
  readonly control: string;
}

function linked(dir: TempDir): Linked {
  const [branch, root, control] = ["branch", "root", "control"].map((name) =>
    `${dir.path}/${name}`
  );
  Deno.mkdirSync(`${branch}/.wh..wh.plnk`, { recursive: true });
  Deno.mkdirSync(`${root}/below/deep`, { recursive: true });
  Deno.writeTextFileSync(control, "");
  Deno.writeTextFileSync(`${root}/linked`, "content");
  Deno.chmodSync(`${root}/linked`, 0o6755);
  Deno.linkSync(`${root}/linked`, `${root}/below/deep/linked`);
  Deno.writeTextFileSync(`${root}/other`, "other");
  Deno.symlinkSync("nowhere", `${root}/below/symlink`);
  must("mkfifo", `${root}/below/fifo`);
  for (const name of ["linked", "below/symlink", "below/fifo"]) {
    remember(branch, inode(`${root}/${name}`));
  }
  return { branch, root, control };
}

const changedTime = (path: string) => must("stat", "-c", "%z", path);

test("plink: every name of a remembered file is touched, and nothing else", (dir) => {
  const { branch, root, control } = linked(dir);
  const all = ["linked", "below/deep/linked", "below/symlink", "below/fifo"];
  const before = Object.fromEntries([...all, "other", "below"].map((name) => [
    name,
    changedTime(`${root}/${name}`),
  ]));
  flushPseudoLinks(aufsAt(root), branch, control);
  for (const name of all) assert(changedTime(`${root}/${name}`) !== before[name], name);
  for (const name of ["other", "below"]) {
    assertEquals(changedTime(`${root}/${name}`), before[name], name);
  }
  assertEquals(Deno.statSync(`${root}/linked`).mode! & 0o7777, 0o6755);
  assertEquals(read(control), "si=5d9b2c0fa1e3clean");
  assertEquals(names(`${branch}/.wh..wh.plnk`), []);
});

test("plink: names that no file of the branch has any more are not believed, and go", (dir) => {
  const { branch, root, control } = linked(dir);
  const links = `${branch}/.wh..wh.plnk`;
  const [linkedName, ...others] = names(links);
  // One of another file's number, one whose file has no other name any more.
  Deno.renameSync(`${links}/${linkedName}`, `${links}/${inode(`${root}/linked`)}.1`);
  for (const name of others) Deno.removeSync(`${branch}/copy of ${name.split(".")[0]}`);
  const all = ["linked", "below/deep/linked", "below/symlink", "below/fifo"];
  const before = all.map((name) => changedTime(`${root}/${name}`));
  flushPseudoLinks(aufsAt(root), branch, control);
  assertEquals(all.map((name) => changedTime(`${root}/${name}`)), before);
  assertEquals(names(links), []);
});

test("plink: what an earlier mount remembered is forgotten before the next is made", (dir) => {
  const root = `${dir.path}/root`;
  const seen: string[][] = [];
  const recorder = new Recorder(root, true, () => {
    seen.push(names(links));
    return false;
  });
  const backend = open(root, { port: recorder });
  chain(backend, ["base", "top"]);
  const branch = backend.home.join("diff/top").text, links = `${branch}/.wh..wh.plnk`;
  remember(branch, "44");
  performPlan(backend.plan("top", { readOnly: true }), recorder);
  assertEquals(seen.pop()?.length, 1, "a mount that writes nothing leaves them");
  performPlan(backend.plan("top", {}), recorder);
  assertEquals(seen.pop(), []);

  remember(branch, "45");
  backend.mounts("top", {});
  assertEquals(names(links), []);
  remember(branch, "46");
  const sysfs = `${dir.path}/sysfs`;
  Deno.mkdirSync(`${sysfs}/si_1f`, { recursive: true });
  Deno.writeTextFileSync(`${sysfs}/si_1f/br0`, `${branch}=rw\n`);
  performPlan(open(root, { port: recorder, sysfs }).plan("top", {}), recorder);
  assertEquals(names(links).length, 1, "those of a mount that is there stay");
  forgetPseudoLinks(branch);
  Deno.removeSync(links);
  forgetPseudoLinks(branch);
});

test("plink: what else is mounted below the layer is left alone", (dir) => {
  const { branch, root, control } = linked(dir);
  Deno.mkdirSync(`${root}/mounted`);
  mount({ source: "tmpfs", target: `${root}/mounted`, type: "tmpfs" });
  Deno.writeTextFileSync(`${root}/mounted/file`, "");
  remember(branch, inode(`${root}/mounted/file`));
  const before = changedTime(`${root}/mounted/file`);
  flushPseudoLinks(aufsAt(root), branch, control);
  assertEquals(changedTime(`${root}/mounted/file`), before);
});

test("plink: a mount without pseudo-links is asked, and left as it is", (dir) => {
  const { branch, root, control } = linked(dir);
  const before = changedTime(`${root}/linked`);
  flushPseudoLinks(aufsAt(root, "rw,si=5d9b2c0fa1e3,noplink"), branch, control);
  assertEquals(read(control), "", "the mount has none");
  Deno.removeSync(`${branch}/.wh..wh.plnk`, { recursive: true });
  flushPseudoLinks(aufsAt(root), branch, control);
  assertEquals(read(control), "si=5d9b2c0fa1e3");
  Deno.mkdirSync(`${branch}/.wh..wh.plnk`);
  Deno.writeTextFileSync(control, "");
  flushPseudoLinks(aufsAt(root), branch, control);
  assertEquals(read(control), "si=5d9b2c0fa1e3");
  assertEquals(changedTime(`${root}/linked`), before);
});

test("plink: where a name cannot be touched, aufs goes on remembering", (dir) => {
  const { branch, root, control } = linked(dir);
  must("chattr", "+i", `${root}/linked`);
  try {
    const flush = () => flushPseudoLinks(aufsAt(root), branch, control);
    assertThrows(flush, SyscallError, "EPERM");
  } finally {
    must("chattr", "-i", `${root}/linked`);
  }
  assertEquals(read(control), "si=5d9b2c0fa1e3");
  assertEquals(names(`${branch}/.wh..wh.plnk`).length, 3);
}, lacksProgram("chattr"));

test("plink: unmounting flushes first, and unmounts whatever comes of it", (dir) => {
  const control = `${dir.path}/control`, warnings: string[] = [];
  const written: string[] = [];
  const root = `${dir.path}/root`;
  const recorder = new Recorder(root, true, () => {
    written.push(read(control));
    return false;
  });
  const backend = open(root, {
    port: recorder,
    plinkMaint: control,
    mountAt: (path) => aufsAt(path),
    warn: (message) => warnings.push(message),
  });
  chain(backend, ["base", "top"]);
  Deno.writeTextFileSync(`${backend.mountPoint("top")}/linked`, "");
  remember(backend.home.join("diff/top").text, inode(`${backend.mountPoint("top")}/linked`));
  const unmount = { call: "unmount", target: "$R/aufs/mnt/top", flags: 0 } as const;

  Deno.writeTextFileSync(control, "");
  undoPlan(backend.plan("top", {}), recorder, () => {});
  assertEquals(recorder.calls, [unmount]);
  assertEquals(written, ["si=5d9b2c0fa1e3clean"]);
  assertEquals(names(backend.home.join("diff/top/.wh..wh.plnk").text), []);
  assertEquals(warnings, []);

  Deno.removeSync(control);
  Deno.mkdirSync(control);
  recorder.calls.length = 0;
  const silent = new Recorder(root, true);
  undoPlan(backend.plan("top", {}), silent, () => {});
  assertEquals(silent.calls, [unmount]);
  const [warning, ...more] = warnings;
  assertEquals(more, []);
  assert(warning.startsWith("layer top: hard links that were broken up"), warning);
});

test("plink: a read-only mount and one that is not aufs have none", (dir) => {
  for (const line of ["ro,relatime - aufs none ro,si=5d9b2c0fa1e3", "rw - overlay overlay rw"]) {
    const backend = open(`${dir.path}/root`, {
      plinkMaint: "/nowhere",
      mountAt: (path) => parseMountInfo(`71 29 0:45 / ${path} ${line}`),
    });
    backend.beforeUnmount("top");
  }
});
