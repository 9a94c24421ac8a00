/** overlay2's mounts, by both kinds of calls, and at their limits. */
// @runs on ext4, xfs, guest ext4
// @runs long on btrfs, guest xfs
import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { mount, umount } from "../../../ffi/mount.ts";
import { performPlan } from "../../../lib/mount/plan.ts";
import { kernelMountPort } from "../../../lib/mount/port.ts";
import { readMountInfo } from "../../../lib/mount/mountinfo.ts";
import { mountPoints, run } from "../../support/cases.ts";
import { names, read } from "../../support/files.ts";
import { create } from "../../support/backends.ts";
import { assertFails } from "../../support/errors.ts";
import { apiOption, APIS, chain, lackingNew, open, test, withMount } from "./support.ts";

for (const [api, lacks] of APIS) {
  const by = `by the ${api} calls`;

  test(`mounts ${by}: writes go to the layer alone, and all is undone`, (dir) => {
    const backend = open(dir.path, apiOption(api));
    chain(backend, 3);
    withMount(backend, "3", (root) => {
      assertEquals(root, backend.home.join("3/merged").text);
      const info = readMountInfo().find(({ mountPoint }) => mountPoint === root);
      assertEquals([info?.type, info?.source], ["overlay", "overlay"]);
      assertEquals(names(root), ["file-1", "file-2", "file-3"]);
      Deno.writeTextFileSync(`${root}/file-1`, "changed");
      Deno.removeSync(`${root}/file-2`);
    });
    assertEquals(read(backend.home.join("1/diff/file-1").text), "1");
    assertEquals(read(backend.home.join("3/diff/file-1").text), "changed");
    assert(Deno.lstatSync(backend.home.join("3/diff/file-2").text).isCharDevice);
    assertEquals(names(backend.home.join("3").text), ["diff", "link", "lower", "work"]);
    assertEquals(mountPoints(dir.path), []);
    assertEquals(backend.plan("1", {}), { path: backend.home.join("1/diff").text, steps: [] });
  }, lacks);

  for (
    const [what, name] of [
      ["a comma", "a,b"],
      ["a colon", "a:b"],
      ["a backslash", "a\\b"],
      ["a space", "a b"],
      ["an option in it", "a,upperdir=b:c"],
      ["letters of all kinds", "ä\"'\t#%40\u{1f40b}"],
      ["255 bytes and more", `${"long".repeat(50)}/${"longer".repeat(40)}`],
    ]
  ) {
    test(`mounts ${by} in a home with ${what}`, (dir) => {
      const root = `${dir.path}/${name}`;
      const backend = open(root, apiOption(api));
      chain(backend, 3);
      for (const readOnly of [false, true]) {
        withMount(backend, "3", (merged) => {
          assertEquals(names(merged), ["file-1", "file-2", "file-3"]);
          if (!readOnly) Deno.writeTextFileSync(`${merged}/file-3`, "written");
        }, { readOnly });
      }
      assertEquals(read(backend.home.join("3/diff/file-3").text), "written");
      const target = `${dir.path}/target`;
      Deno.mkdirSync(target);
      const [triple] = backend.mounts("3", {});
      mount({ source: triple.source, target, type: triple.type, data: triple.options.join(",") });
      try {
        assertEquals(read(`${target}/file-1`), "1");
      } finally {
        umount(target);
      }
    }, lacks);
  }

  test(`mounts ${by} at the length where names become relative`, (dir) => {
    for (let length = 223; length <= 228; length++) {
      const home = `${Deno.realPathSync(dir.path)}/${"x".repeat(250)}`.slice(0, length - 8);
      const backend = open(home, apiOption(api));
      assertEquals(backend.home.path.length, length + 1);
      chain(backend, 2);
      withMount(backend, "2", (root) => assertEquals(names(root), ["file-1", "file-2"]));
    }
  }, lacks);

  test(`mounts ${by} with ids of 200 bytes`, (dir) => {
    const backend = open(dir.path, apiOption(api));
    const long = (letter: string) => letter.repeat(200);
    create(backend, long("a"));
    create(backend, long("b"), long("a"));
    withMount(backend, long("b"), (root) => Deno.writeTextFileSync(`${root}/f`, ""));
    assertEquals(names(backend.home.join(long("b"), "diff").text), ["f"]);
  }, lacks);

  test(`mounts ${by} read-only, without an upper directory`, (dir) => {
    const backend = open(dir.path, apiOption(api));
    chain(backend, 2);
    withMount(backend, "2", (root) => {
      assertThrows(() => Deno.writeTextFileSync(`${root}/new`, ""));
      assertEquals(names(root), ["file-1", "file-2"]);
      const mounted = readMountInfo().find(({ mountPoint }) => mountPoint === root);
      assert(!mounted?.superOptions.includes("upperdir"), mounted?.superOptions);
    }, { readOnly: true });
  }, lacks);

  test(`mounts ${by}: volatile only where asked for, and again after a clean end`, (dir) => {
    const backend = open(dir.path, apiOption(api));
    chain(backend, 2);
    const isVolatile = (root: string) =>
      // `fsync=volatile` where the kernel knows more ways than one.
      readMountInfo().find(({ mountPoint }) => mountPoint === root)!.superOptions.split(",")
        .some((option) => option === "volatile" || option === "fsync=volatile");
    withMount(backend, "2", (root) => assert(!isVolatile(root)));
    for (let i = 0; i < 2; i++) {
      withMount(backend, "2", (root) => assert(isVolatile(root)), { options: ["volatile"] });
    }
    withMount(backend, "2", (root) => assert(!isVolatile(root)));
    assertEquals(names(backend.home.join("2").text), ["diff", "link", "lower", "work"]);
    assertFails("invalid argument", () => backend.plan("2", { options: ["volatil"] }));
  }, lacks);

  test(`mounts ${by}: after a volatile one that nobody ended, by what boot it was`, (dir) => {
    const backend = open(dir.path, apiOption(api));
    chain(backend, 2);
    const plan = backend.plan("2", { options: ["volatile"] });
    performPlan(plan, kernelMountPort);
    umount(plan.path); // As an administrator would, or a cleanup after a killed process.
    const mark = backend.home.join("2/work/work/incompat/volatile");
    assert(Deno.lstatSync(mark.text).isDirectory);
    const boot = backend.home.join("2/volatile"), content = read(boot.text);
    Deno.writeTextFileSync(boot.text, "of another boot");
    const error = assertFails("failed precondition", () => withMount(backend, "2", () => {}));
    assert(error.message.includes("volatile when the machine went down"), error.message);
    Deno.writeTextFileSync(boot.text, content);
    withMount(backend, "2", () => {});
    assertEquals(names(backend.home.join("2").text), ["diff", "link", "lower", "work"]);
  }, lacks);

  test(`mounts ${by}: a label is passed on`, (dir) => {
    const backend = open(dir.path, apiOption(api));
    chain(backend, 2);
    const label = "system_u:object_r:container_file_t:s0";
    const steps = JSON.stringify(backend.plan("2", { label }).steps);
    assert(steps.includes(label), steps);
    if (run("test", "-e", "/sys/fs/selinux").success) return;
    // Without SELinux nobody knows the option: the kernel must hear of it, and refuse.
    assertThrows(() => withMount(backend, "2", () => {}, { label }), Error, "EINVAL");
    assertEquals(mountPoints(dir.path), []);
    assertFails("invalid argument", () => backend.plan("2", { label: 'a"b' }));
    assertFails("limit exceeded", () => backend.plan("2", { label: "x".repeat(5000) }));
  }, lacks);
}

test("a layer on 500 others is mounted, and 501 are refused with nothing changed", (dir) => {
  const backend = open(dir.path);
  chain(backend, 501);
  for (const readOnly of [false, true]) {
    withMount(backend, "501", (root) => {
      assertEquals(names(root).length, 501);
      assertEquals(read(`${root}/file-1`), "1");
      if (readOnly) assertThrows(() => Deno.writeTextFileSync(`${root}/new`, ""));
    }, { readOnly });
  }
  const before = names(backend.home.join("l").text);
  const error = assertFails("limit exceeded", () => create(backend, "502", "501"));
  assertMatch(error.message, /501 layers.* 500 /);
  assertEquals(names(backend.home.join("l").text), before);
  assertEquals(backend.home.staged(), []);
}, lackingNew);

test("by mount(2) a layer on 128 others is mounted, and 129 are refused", (dir) => {
  const backend = open(dir.path, apiOption("old"));
  chain(backend, 129);
  withMount(backend, "129", (root) => assertEquals(names(root).length, 129));
  const error = assertFails("limit exceeded", () => create(backend, "130", "129"));
  assertMatch(error.message, /129 layers.* 128 /);
  assertFails("limit exceeded", () => backend.mounts("129", {}));
  assertEquals(backend.home.staged(), []);
});
