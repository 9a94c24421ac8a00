/** Where a layer is used: mounts of all namespaces, and detached ones that overlay alone knows of. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { O_DIRECTORY, O_RDONLY, open, withFd } from "../../ffi/files.ts";
import { MNT_DETACH, mount, umount } from "../../ffi/mount.ts";
import { isKernelAtLeast } from "../../lib/base/kernel.ts";
import { endAsking, stateOfUpper } from "../../lib/mount/upper_state.ts";
import { parseMountInfo } from "../../lib/mount/mountinfo.ts";
import { describeUse, usesOf } from "../../lib/mount/uses.ts";
import { mountNamespace } from "../../lib/store/mount_namespace.ts";
import { must, needs, tempDir } from "../support/cases.ts";

/** An overlay in a directory of its own, mounted here while `use` runs. */
function withOverlay(use: (dir: string, merged: string) => void): void {
  using dir = tempDir();
  for (const name of ["lower", "upper", "work", "merged"]) Deno.mkdirSync(`${dir.path}/${name}`);
  const data = `lowerdir=${dir.path}/lower,upperdir=${dir.path}/upper,workdir=${dir.path}/work`;
  const merged = `${dir.path}/merged`;
  mount({ source: "overlay", target: merged, type: "overlay", flags: 0, data });
  try {
    use(dir.path, merged);
  } finally {
    must("umount", "--lazy", "--quiet", merged);
  }
}

const state = (path: string) => withFd(open(path, O_RDONLY | O_DIRECTORY), stateOfUpper);

Deno.test("overlay says whether an upper is in use: attached, detached and held, and free again", () => {
  withOverlay((dir, merged) => {
    assertEquals(state(`${dir}/upper`), "in use");
    withFd(open(merged, O_RDONLY | O_DIRECTORY), () => {
      umount(merged, MNT_DETACH);
      assertEquals(state(`${dir}/upper`), "in use");
    });
    assertEquals(state(`${dir}/upper`), "free");
    assertEquals([...Deno.readDirSync(`${dir}/upper`)], []);
    mount({ source: dir, target: merged, flags: 4096 }); // for the umount that follows
  });
});

Deno.test("questions about uppers, however many, keep one descriptor, until they end", () => {
  using dir = tempDir();
  const open = () => [...Deno.readDirSync("/proc/self/fd")].length;
  endAsking();
  const before = open();
  for (let i = 0; i < 100; i++) {
    assertEquals(state(dir.path), "free");
    assertEquals(open(), before + 1);
  }
  endAsking();
  assertEquals(open(), before);
});

needs(
  isKernelAtLeast(6, 15) ? undefined : "overlay takes no detached directories before Linux 6.15",
  "asking overlay whether a free upper is in use leaves no line in the kernel's log",
  () => {
    using dir = tempDir();
    const mark = crypto.randomUUID(), times = 20;
    Deno.writeTextFileSync("/dev/kmsg", `${mark}\n`);
    for (let i = 0; i < times; i++) assertEquals(state(dir.path), "free");
    const [, after] = must("dmesg").split(mark);
    // Others on this machine may ask in the other way meanwhile, but not as often.
    const lines = after.split("\n").filter((line) => line.includes("overlayfs: "));
    assert(lines.length < times, lines.join("\n"));
  },
);

Deno.test("a mount is found by its place and by its branches, here and in another namespace", async () => {
  withOverlay((dir, merged) => {
    for (
      const marks of [
        { mountPoints: [merged] },
        { mountPoints: [], branches: [`${dir}/upper`] },
        { mountPoints: [], branches: [`${dir}/lower`] },
      ]
    ) {
      const [use] = usesOf(marks);
      assertEquals(use.mount.mountPoint, merged);
      assertStringIncludes(describeUse(use), merged);
    }
    assertEquals([...usesOf({ mountPoints: [], branches: [`${dir}/up`, `${dir}`] })], []);
  });
  using dir = tempDir();
  for (const name of ["tree/below", "there"]) {
    Deno.mkdirSync(`${dir.path}/${name}`, { recursive: true });
  }
  const script = `mount --bind ${dir.path}/tree/below ${dir.path}/there && echo && read -r _`;
  const child = new Deno.Command("unshare", {
    args: ["--mount", "--propagation", "private", "sh", "-c", script],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const reader = child.stdout.getReader();
  await reader.read();
  try {
    const uses = [...usesOf({ mountPoints: [`${dir.path}/there`] })];
    assertEquals(uses.length, 1);
    assertEquals(uses[0].namespace === mountNamespace(), false);
    const { device, root } = uses[0].mount;
    const tree = { device, root: root.replace(/\/below$/, "") };
    assertEquals([...usesOf({ mountPoints: [], tree })].length, 1);
    assertEquals([...usesOf({ mountPoints: [], tree: { device, root: `${root}x` } })], []);
    assertStringIncludes(describeUse(uses[0]), "sh (pid ");
  } finally {
    await child.stdin.close();
    reader.releaseLock();
    await child.stdout.cancel();
    await child.status;
  }
});

Deno.test("uses: a use names a process that runs a program, and no other", async () => {
  const mount = parseMountInfo("1 1 0:1 / /mnt rw - tmpfs none rw");
  const own = describeUse({ mount, namespace: "7", pid: `${Deno.pid}` });
  assertEquals(own, `/mnt (mount namespace 7, deno (pid ${Deno.pid}))`);
  // Like a thread of the kernel's, a process that ended has none: this one's parent never waits for it.
  const parent = new Deno.Command("sh", { args: ["-c", "true & exec sleep 60"] }).spawn();
  try {
    const text = (path: string) => Deno.readTextFileSync(`/proc/${path}`);
    let pid = "";
    while (pid === "" || !text(`${pid}/stat`).includes(") Z ")) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      pid = text(`${parent.pid}/task/${parent.pid}/children`).trim();
    }
    assertEquals(describeUse({ mount, namespace: "7", pid }), "/mnt (mount namespace 7)");
  } finally {
    parent.kill();
    await parent.status;
  }
});
