/** What overlay2 runs on, what it refuses, its options, and what it probes. */
// @runs on ext4, xfs, btrfs, guest ext4
// @runs long on guest xfs
import { assert, assertEquals, assertInstanceOf, assertMatch } from "@std/assert";
import * as overlay2 from "../../../drivers/overlay2/driver.ts";
import {
  checkBacking,
  checkEntryTypes,
  checkKernelVersion,
  findEntryTypes,
} from "../../../drivers/overlay2/support.ts";
import { parseDriverOptions } from "../../../drivers/overlay2/options.ts";
import { O_DIRECTORY, O_RDONLY, open as openFile, withFd } from "../../../ffi/files.ts";
import { tryLock } from "../../../ffi/flock.ts";
import { attach } from "../../../ffi/loop.ts";
import { mount } from "../../../ffi/mount.ts";
import { lstat } from "../../../ffi/stat.ts";
import { statfs } from "../../../ffi/statfs.ts";
import { VeneerError } from "../../../lib/base/errors.ts";
import { isMountPoint } from "../../../lib/mount/mountinfo.ts";
import { quotaLacking } from "../../../drivers/overlay2/project_quota.ts";
import { mountImage } from "../../runner/images.ts";
import { lacksFileSystem, lacksProgram, mountPoints, must } from "../../support/cases.ts";
import { names } from "../../support/files.ts";
import { assertFails } from "../../support/errors.ts";
import {
  apiOption,
  APIS,
  chain,
  directory,
  lacking,
  lackingNew,
  open,
  test,
  withMount,
} from "./support.ts";

test("a probe leaves nothing, and is disposed of where it was killed", (dir) => {
  for (const [api, lacks] of APIS) {
    if (lacks !== undefined) continue;
    const backend = open(`${dir.path}/${api}`, apiOption(api));
    const status = new Map(backend.status());
    assertEquals(status.get("Native Overlay Diff"), "true");
    assertEquals(status.get("Using metacopy"), "false");
    assertEquals(status.get("Supports d_type"), "true");
    assertEquals(backend.home.staged(), []);
    assertEquals(mountPoints(dir.path), []);

    const killed = backend.home.staging(".probe-killed");
    for (const name of ["lower", "upper", "work", "merged"]) {
      Deno.mkdirSync(`${killed}/${name}`, { recursive: true });
    }
    const data = `lowerdir=${killed}/lower,upperdir=${killed}/upper,workdir=${killed}/work`;
    mount({ source: "overlay", target: `${killed}/merged`, type: "overlay", data });
    withFd(openFile(killed.text, O_RDONLY | O_DIRECTORY), (fd) => {
      assert(tryLock(fd, "exclusive"));
      backend.dispose(".probe-killed");
      assert(isMountPoint(`${killed}/merged`), "a probe that somebody is at is left alone");
    });
    backend.dispose(".probe-killed");
    assertEquals(backend.home.staged(), []);
    assertEquals(mountPoints(dir.path), []);
    backend.dispose(".probe-killed");
  }
});

const options = (given: Record<string, string> = {}) =>
  parseDriverOptions(new Map(Object.entries(given)));

Deno.test("overlay2 wants kernel 4.0, or 3.10.0-514 of Red Hat", () => {
  for (
    const [release, works] of [
      ["6.18.44", true],
      ["4.0.0", true],
      ["3.19.0-generic", false],
      ["3.10.0-514.el7.x86_64", true],
      ["3.10.0-1160.119.1.el7.x86_64", true],
      ["3.10.0-327.el7.x86_64", false],
      ["3.10.0-600", false],
      ["unknown", false],
    ] as const
  ) {
    const problem = checkKernelVersion(release, options());
    assertEquals(problem === undefined, works, release);
    if (problem) assert(problem.message.includes("override_kernel_check"));
    const override = options({ "overlay2.override_kernel_check": "true" });
    assertEquals(checkKernelVersion(release, override), undefined);
  }
});

Deno.test("overlay2 does not stand on every file system", () => {
  // Numbers of linux/magic.h, of aufs's and ZFS's own headers.
  for (
    const [type, name] of [
      [0x61756673, "aufs"],
      [0x794c7630, "overlay"],
      [0x2fc12fc1, "zfs"],
      [0xf15f, "ecryptfs"],
      [0x6969, "nfs"],
      [0x9123683e, "btrfs"],
    ] as const
  ) {
    const backing = { ...statfs("/"), type };
    const problem = checkBacking("/store", backing, options());
    assertEquals(problem?.code, "incompatible");
    assert(problem?.message.startsWith(`/store is on ${name}`), problem?.message);
    const allowed = checkBacking("/store", backing, options({ "overlay2.allow_btrfs": "1" }));
    assertEquals(allowed === undefined, name === "btrfs");
  }
  for (const type of [0xef53, 0x58465342, 0x01021994]) {
    assertEquals(checkBacking("/store", { ...statfs("/"), type }, options()), undefined);
  }
});

test("is refused on overlay, with nothing changed", (dir) => {
  for (const name of ["lower", "upper", "work", "merged"]) Deno.mkdirSync(`${dir.path}/${name}`);
  const [lower, upper, work, merged] = ["lower", "upper", "work", "merged"].map((name) =>
    `${dir.path}/${name}`
  );
  const data = `lowerdir=${lower},upperdir=${upper},workdir=${work}`;
  mount({ source: "overlay", target: merged, type: "overlay", data });
  const error = assertFails("incompatible", () => open(`${merged}/store`));
  assert(error.message.includes("on overlay"), error.message);
  assertEquals(names(upper), []);
  assert(overlay2.examine(`${merged}/store`).some(({ state }) => state === "missing"));
});

test("is refused on btrfs, unless asked for", (dir) => {
  using image = mountImage("btrfs", dir.path, 256 << 20);
  const error = assertFails(
    "incompatible",
    () => open(image.mountPoint, { "overlay2.allow_btrfs": "false" }),
  );
  assert(error.message.includes("overlay2.allow_btrfs=true"), error.message);
  assertEquals(names(image.mountPoint), []);
  const backend = open(image.mountPoint);
  chain(backend, 2);
  withMount(backend, "2", (root) => Deno.writeTextFileSync(`${root}/f`, ""));
}, lacking ?? lacksFileSystem("btrfs") ?? lacksProgram("mkfs.btrfs"));

test("is refused where directories do not say types, with nothing changed", (dir) => {
  const file = `${dir.path}/image`, target = `${dir.path}/target`;
  Deno.mkdirSync(target);
  Deno.writeTextFileSync(file, "");
  Deno.truncateSync(file, 64 << 20);
  must("mkfs.ext4", "-q", "-F", "-O", "^filetype", file);
  const device = attach(file, { autoclear: true });
  mount({ source: device.path, target, type: "ext4" });
  Deno.removeSync(`${target}/lost+found`);
  for (const root of [target, `${target}/a/b`]) {
    const error = assertFails("not supported", () => open(root));
    assert(error.message.includes("d_type"), error.message);
  }
  assertEquals(names(target), []);
  // The empty root of a file system shows nothing, and is not written to in order to find out.
  const changed = () => {
    const { changeSeconds, changeNanos } = lstat(target);
    return [changeSeconds, changeNanos];
  };
  const before = changed();
  assertEquals(findEntryTypes(target, statfs(target)), "unknown");
  assert(overlay2.examine(target).some(({ what }) => what.includes("the first command tells")));
  assertEquals(changed(), before);
  // An empty directory below it is seen in the root.
  Deno.mkdirSync(`${target}/empty`);
  assertInstanceOf(findEntryTypes(`${target}/empty`, statfs(target)), VeneerError);
  assert(overlay2.examine(`${target}/empty`).some(({ state }) => state === "missing"));
  Deno.removeSync(`${target}/empty`);
  const xfs = { ...statfs(target), name: "xfs" };
  assert(checkEntryTypes(target, xfs)?.message.includes("mkfs.xfs -n ftype=1"));
}, lacking ?? lacksProgram("mkfs.ext4"));

test("examines a place without changing it", (dir) => {
  const findings = overlay2.examine(`${dir.path}/not/there`);
  assertEquals(names(dir.path), []);
  for (const { state, remedy } of findings) {
    assert(state === "ok" || remedy, JSON.stringify(findings));
  }
  const depth = lackingNew === undefined ? 500 : 128;
  assert(findings.some(({ what }) => what.includes(`up to ${depth} layers`)));
});

test("options are checked", (dir) => {
  for (
    const [key, value, part] of [
      ["overlay2.allow_btrfs", "perhaps", "true or false"],
      ["overlay2.override_kernel_check", "", "true or false"],
      ["overlay2.size", "big", "overlay2.size"],
      ["overlay2.inodes", "-1", "number of files"],
      ["overlay2.mount_api", "newest", "auto, new, old"],
      ["overlay2.mountopt", "index=on,lowerdir=/", '"lowerdir=/": it must be one or more of index'],
      ["overlay2.mountopt", "volatile", '"volatile": it must be'],
      ["overlay2.sise", "1G", "did you mean overlay2.size?"],
    ]
  ) {
    const error = assertFails("invalid argument", () => open(dir.path, { [key]: value }));
    assert(error.message.includes(part), error.message);
  }
  assertEquals(names(dir.path), []);
});

test("a size is refused where there is no project quota, with the reason", (dir) => {
  const backend = open(dir.path);
  const storageOptions = new Map([["size", "1G"]]);
  const error = assertFails(
    "not supported",
    () =>
      backend.create("x", {
        parent: undefined,
        readWrite: true,
        mountLabel: undefined,
        storageOptions,
      }),
  );
  assertMatch(error.message, /^layer x, storage options size and inodes: .* p(rj)?quota/);
  assertEquals([backend.list(), backend.home.staged()], [[], []]);
  const default_ = assertFails("not supported", () => open(dir.path, { "overlay2.size": "1G" }));
  assertMatch(default_.message, /^the options overlay2.size and overlay2.inodes: .* p(rj)?quota/);
  open(dir.path, { "overlay2.size": "0" });
}, lacking ?? (quotaLacking(directory) ? undefined : "this file system has project quotas"));

test("lowerdir+ is not asked for where the kernel lacks it", (dir) => {
  const error = assertFails("not supported", () => open(dir.path, apiOption("new")));
  assert(error.message.includes("lowerdir+"), error.message);
}, lackingNew === undefined ? "overlay of this kernel takes lowerdir+" : lacking);
