/** Mounts of layers that Veneer did not make, or that it made and others hold: real ones, in namespaces of their own. */
// @runs on ext4, xfs, btrfs, guest ext4
// @runs long on guest xfs
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { openDriver } from "../../support/drivers.ts";
import type { GraphDriver } from "../../../lib/graph/driver.ts";
import { IDENTITY } from "../../../lib/base/id_maps.ts";
import { mountNamespace } from "../../../lib/store/mount_namespace.ts";
import {
  lacksFileSystem,
  mountPoints,
  must,
  needs,
  type TempDir,
  TEST_FS,
} from "../../support/cases.ts";
import { apply, EMPTY_TAR, treeNames } from "../../support/layers.ts";
import { runState, storeDir } from "../../support/store_dir.ts";
import { assertFails } from "../../support/errors.ts";

const lacking = lacksFileSystem("overlay");
const lackingBtrfs = TEST_FS.startsWith("btrfs") ? undefined : "it is for btrfs";

function open(dir: TempDir, driver = "overlay2", foreignUses?: "refuse" | "ignore"): GraphDriver {
  const options = driver === "overlay2" ? ["overlay2.allow_btrfs=true"] : [];
  const warn = (message: string) => {
    throw new Error(`a warning: ${message}`);
  };
  return openDriver({
    root: `${dir.path}/root`,
    driver,
    options,
    idMaps: IDENTITY,
    warn,
    foreignUses,
  });
}

/** A process that lives on until it is disposed of, in a mount namespace of its own where `unshared` is set. */
function holder(script: string, { unshared = false, cwd = "/" } = {}) {
  const shell = unshared ? "unshare --mount --propagation private sh" : "sh";
  const held = `(${script}) && echo ready >"$1" && exec sleep 600`;
  const ready = Deno.makeTempFileSync();
  const started = `cd "$0" && { ${shell} -c '${held}' sh ${ready} >/dev/null 2>&1 & echo $!; }`;
  const pid = Number(must("sh", "-c", started, cwd));
  must(
    "sh",
    "-c",
    `until [ -s ${ready} ] && grep -qx sleep /proc/${pid}/comm; do sleep 0.01; done`,
  );
  Deno.removeSync(ready);
  return {
    pid,
    [Symbol.dispose]() {
      Deno.kill(pid, "SIGKILL");
      must("tail", `--pid=${pid}`, "-s0.01", "-f", "/dev/null");
    },
  };
}

/** Layers `base` and, on it, `layer`; and how mount(8) mounts the latter. */
function makeLayers(driver: GraphDriver): string {
  driver.create("base");
  driver.create("layer", { parent: "base" });
  const [{ options }] = driver.mounts("layer");
  return `mount -t overlay -o ${options.join(",")} overlay`;
}

function assertRefused(driver: GraphDriver, tar: string, ...texts: string[]): void {
  Deno.writeFileSync(tar, EMPTY_TAR);
  const before = treeNames(driver.home);
  const refused = [
    () => driver.remove("layer"),
    () => apply(driver, "layer", tar),
    () => driver.get("layer"),
  ];
  for (const operation of refused) {
    const { message } = assertFails("in use", operation);
    for (const text of texts) assertStringIncludes(message, text);
  }
  assertEquals(treeNames(driver.home), before);
}

function assertFree(driver: GraphDriver, root: string): void {
  driver.get("layer");
  driver.put("layer");
  driver.remove("layer");
  driver.remove("base");
  driver.cleanup();
  assertEquals(mountPoints(root), []);
}

for (const place of ["its own place", "another"]) {
  needs(lacking, `foreign: mounted at ${place} in another namespace`, () => {
    using dir = storeDir();
    const driver = open(dir);
    const mount = makeLayers(driver);
    const target = place === "another" ? `${dir.path}/target` : `${driver.home}/layer/merged`;
    Deno.mkdirSync(target);
    {
      using other = holder(`${mount} ${target}`, { unshared: true });
      const text = must("readlink", `/proc/${other.pid}/ns/mnt`);
      const namespace = /\d+/.exec(text)![0];
      assert(namespace !== mountNamespace());
      const where = `${target} (mount namespace ${namespace}, sleep (pid ${other.pid}))`;
      assertRefused(
        driver,
        `${dir.path}/tar`,
        `layer layer is mounted by somebody else at ${where}`,
      );
      assertFails("failed precondition", () => driver.put("layer", { force: true }));
      assert(!driver.cleanup().some((done) => done.includes("layer")));
      assert(Deno.readTextFileSync(`/proc/${other.pid}/mountinfo`).includes(target));
    }
    assertFree(driver, dir.path);
  });
}

needs(lacking, "foreign: mounted here by hand, beside its place", () => {
  using dir = storeDir();
  const driver = open(dir);
  const mount = makeLayers(driver), target = `${dir.path}/target`;
  Deno.mkdirSync(target);
  must("sh", "-c", `${mount} ${target}`);
  assertRefused(driver, `${dir.path}/tar`, target, `${mountNamespace()}`, "unmount it there first");
  must("umount", target);
  assertFree(driver, dir.path);
});

needs(lacking, "foreign: a base layer's directory bound elsewhere", () => {
  using dir = storeDir();
  const driver = open(dir);
  driver.create("layer");
  const target = `${dir.path}/target`;
  Deno.mkdirSync(target);
  must("mount", "--bind", `${driver.home}/layer/diff`, target);
  assertStringIncludes(assertFails("in use", () => driver.remove("layer")).message, target);
  must("umount", target);
  driver.remove("layer");
  driver.cleanup();
});

needs(lacking, "foreign: a detached mount that a process holds", () => {
  using dir = storeDir();
  const driver = open(dir);
  makeLayers(driver);
  {
    using _process = holder("true", { cwd: driver.get("layer") });
    assertFails("in use", () => driver.put("layer"));
    driver.put("layer", { lazy: true });
    assertRefused(driver, `${dir.path}/tar`, "a process that holds a detached mount");
    assertEquals(driver.get("layer", { readOnly: true }), `${driver.home}/layer/merged`);
    driver.put("layer");
  }
  assertFree(driver, dir.path);
});

needs(
  lacking,
  "foreign: what another namespace inherited is no use, and goes with the mount",
  () => {
    using dir = storeDir();
    const driver = open(dir);
    makeLayers(driver);
    for (const id of ["layer", "base"]) {
      const path = driver.get(id, { readOnly: id === "base" });
      using other = holder("true", { unshared: true });
      const inherits = () => Deno.readTextFileSync(`/proc/${other.pid}/mountinfo`).includes(path);
      assert(inherits());
      driver.put(id);
      assert(!inherits());
      driver.remove(id);
    }
    driver.cleanup();
  },
);

needs(lackingBtrfs, "foreign: btrfs: an inherited copy of a read-only bind keeps no layer", () => {
  using dir = storeDir();
  const driver = open(dir, "btrfs");
  driver.create("layer");
  driver.get("layer", { readOnly: true });
  {
    using _other = holder("true", { unshared: true });
    driver.put("layer");
    driver.remove("layer");
  }
  driver.create("layer");
  const target = `${dir.path}/target`;
  Deno.mkdirSync(target);
  for (const mount of driver.mounts("layer")) {
    must("mount", "-t", mount.type, "-o", mount.options.join(","), mount.source, target);
  }
  assertStringIncludes(assertFails("in use", () => driver.remove("layer")).message, target);
  must("umount", target);
  driver.remove("layer");
  driver.cleanup();
});

needs(lacking, "foreign: a mount of another namespace is used there, and counted here", () => {
  using dir = storeDir();
  const driver = open(dir);
  makeLayers(driver);
  const path = `${driver.home}/layer/merged`;
  // As the record of a command that ran in the holder's namespace.
  driver.get("layer");
  using other = holder("true", { unshared: true });
  const namespace = /\d+/.exec(must("readlink", `/proc/${other.pid}/ns/mnt`))![0];
  const record = `${runState(driver.home)}/layers/layer`;
  const text = Deno.readTextFileSync(record);
  Deno.writeTextFileSync(record, text.replace(`"${mountNamespace()}"`, `"${namespace}"`));
  must("umount", path);
  for (const operation of [() => driver.get("layer"), () => driver.put("layer")]) {
    const { message } = assertFails("in use", operation);
    assertStringIncludes(
      message,
      `in another mount namespace, at ${path} (mount namespace ${namespace}`,
    );
  }
  must("nsenter", `--mount=/proc/${other.pid}/ns/mnt`, "umount", path);
  assertFree(driver, dir.path);
});

needs(
  lacking,
  "foreign: a service that owns its store takes what is at a layer's place for its own",
  () => {
    using dir = storeDir();
    const driver = open(dir, "overlay2", "ignore");
    const mount = makeLayers(driver), path = `${driver.home}/layer/merged`;
    Deno.mkdirSync(path);
    must("sh", "-c", `${mount} ${path}`);
    assertFails("in use", () => open(dir).remove("layer"));
    assertEquals(driver.get("layer"), path);
    driver.put("layer");
    assert(!mountPoints(dir.path).includes(path));
    Deno.mkdirSync(path, { recursive: true });
    must("sh", "-c", `${mount} ${path}`);
    driver.remove("layer");
    driver.remove("base");
    driver.cleanup();
  },
);
