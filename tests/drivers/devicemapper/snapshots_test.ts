/**
 * devicemapper's layers of snapshots, without the store above them: what they hold, how they are mounted, what
 * they add, and who is told that something is in use.
 */
// @runs on guest ext4
// @runs long on guest xfs
import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import * as devicemapper from "../../../drivers/devicemapper/driver.ts";
import { sendMessage } from "../../../ffi/devmapper.ts";
import { VeneerError } from "../../../lib/base/errors.ts";
import { IDENTITY, IdMap, type IdMaps } from "../../../lib/base/id_maps.ts";
import { performPlan, undoPlan } from "../../../lib/mount/plan.ts";
import { kernelMountPort } from "../../../lib/mount/port.ts";
import { parseOptions } from "../../../lib/base/options.ts";
import type { LayerChain, SnapshotBackend } from "../../../lib/snapshots/backend.ts";
import { storeDir } from "../../support/store_dir.ts";
import { mountPoints, must, needs } from "../../support/cases.ts";
import { names } from "../../support/files.ts";
import {
  assertNoDevices,
  deviceNames,
  FILE_SYSTEM,
  lacking,
  loopDevice,
  openStore,
  SMALL,
} from "./support.ts";

const onlyOnce = lacking ?? (FILE_SYSTEM === "xfs" ? "it ran on ext4" : undefined);

function open(
  root: string,
  { options = [], idMaps = IDENTITY, warn = (message) => console.error(message) }: {
    options?: readonly string[];
    idMaps?: IdMaps;
    warn?: (message: string) => void;
  } = {},
): SnapshotBackend {
  const given = parseOptions([...SMALL, ...options]);
  return devicemapper.openSnapshots({ root, options: given, idMaps, warn });
}

function test(
  name: string,
  body: (root: string, mnt: string) => void | Promise<void>,
  lacks = lacking,
): void {
  needs(lacks, `devicemapper's layers of snapshots with ${FILE_SYSTEM}: ${name}`, async () => {
    using dir = storeDir();
    const root = `${dir.path}/root`, mnt = `${dir.path}/mnt`;
    for (const path of [root, mnt]) Deno.mkdirSync(path);
    await body(root, mnt);
    open(root).release();
    assertEquals(mountPoints(dir.path), []);
    assertNoDevices(root);
  });
}

const active = (layer: string, ...parents: string[]): LayerChain => ({
  layer,
  kind: "active",
  parents,
});
const view = (layer: string, ...parents: string[]): LayerChain => ({
  layer,
  kind: "view",
  parents,
});

/** Mounts by the plan, for as long as `use` takes. */
function mounted<T>(
  backend: SnapshotBackend,
  chain: LayerChain,
  target: string,
  use: () => T,
): T {
  const plan = backend.plan(chain, target);
  performPlan(plan, kernelMountPort);
  try {
    return use();
  } finally {
    undoPlan(plan, kernelMountPort, () => {});
  }
}

/** Makes a layer, changes it, and ends the writing. */
function commit(
  backend: SnapshotBackend,
  chain: LayerChain,
  target: string,
  change: () => void = () => {},
): void {
  backend.prepare(chain);
  mounted(backend, chain, target, change);
  backend.seal(chain);
}

const fails = (use: () => void) => assertThrows(use, VeneerError);

test("a first layer is empty, also to be viewed; a child has its parent's content", (root, mnt) => {
  const backend = open(root);
  backend.prepare(active("one"));
  mounted(backend, active("one"), mnt, () => {
    assertEquals(names(mnt), []);
    const { uid, gid, mode } = Deno.statSync(mnt);
    assertEquals([uid, gid, mode! & 0o7777], [0, 0, 0o755]);
    Deno.writeTextFileSync(`${mnt}/file`, "one");
  });
  backend.seal(active("one"));
  backend.prepare(view("empty"));
  mounted(backend, view("empty"), mnt, () => {
    assertEquals(names(mnt), []);
    assertThrows(() => Deno.writeTextFileSync(`${mnt}/file`, "x"), Error, "Read-only");
  });
  backend.prepare(active("two", "one"));
  mounted(backend, active("two", "one"), mnt, () => {
    assertEquals(Deno.readTextFileSync(`${mnt}/file`), "one");
    Deno.writeTextFileSync(`${mnt}/file`, "two");
  });
  backend.prepare(view("below", "one"));
  mounted(backend, view("below", "one"), mnt, () => {
    assertEquals(Deno.readTextFileSync(`${mnt}/file`), "one");
    assertThrows(() => Deno.removeSync(`${mnt}/file`), Error, "Read-only");
  });
  assertEquals(backend.list(), ["below", "empty", "one", "two"]);
  for (const layer of backend.list()) backend.remove(layer);
  assertEquals(backend.list(), []);
});

test(
  "mounts are of the device itself, and several of one parent's are mounted at once",
  (root, mnt) => {
    const backend = open(root, { options: ["dm.mountopt=noatime"] });
    commit(backend, active("base"), mnt, () => Deno.writeTextFileSync(`${mnt}/file`, "base"));
    const chains = [active("a", "base"), active("b", "base"), view("c", "base"), view("d", "base")];
    for (const chain of chains) {
      backend.prepare(chain);
      const [{ type, source, options }, ...more] = backend.mounts(chain);
      assertEquals([more, type], [[], FILE_SYSTEM]);
      assertMatch(source, new RegExp(`^/dev/mapper/docker-\\d+:\\d+-\\d+-${chain.layer}$`));
      const nouuid = FILE_SYSTEM === "xfs" ? ["nouuid"] : [];
      const ro = chain.kind === "view" ? ["ro"] : [];
      assertEquals(options, ["discard", ...nouuid, "noatime", ...ro]);
      Deno.mkdirSync(`${mnt}/${chain.layer}`);
      must("mount", "-t", type, "-o", options.join(), source, `${mnt}/${chain.layer}`);
    }
    for (const { layer, kind } of chains) {
      const file = `${mnt}/${layer}/file`;
      assertEquals(Deno.readTextFileSync(file), "base");
      if (kind === "active") Deno.writeTextFileSync(file, layer);
      else assertThrows(() => Deno.writeTextFileSync(file, layer), Error, "Read-only");
    }
    for (const { layer } of chains) must("umount", `${mnt}/${layer}`);
    mounted(backend, active("b", "base"), mnt, () => {
      assertEquals(Deno.readTextFileSync(`${mnt}/file`), "b");
    });
  },
);

test(
  "what is mounted here is neither committed nor removed; the mount point is named",
  (root, mnt) => {
    const backend = open(root);
    const chain = active("layer");
    backend.prepare(chain);
    mounted(backend, chain, mnt, () => {
      for (const use of [() => backend.seal(chain), () => backend.checkUnused(chain)]) {
        const { code, message } = fails(use);
        assertEquals(code, "in use");
        assertStringIncludes(message, `layer layer is mounted at ${mnt} (mount namespace `);
        assertStringIncludes(message, `); \`umount ${mnt}\` first`);
      }
    });
    backend.seal(chain);
    assertEquals(deviceNames().filter((name) => name.endsWith("-layer")), [], "it is not active");
    backend.seal(chain);
    backend.checkUnused(chain);
  },
);

test(
  "what is open elsewhere is neither committed nor removed; who has it is named",
  async (root) => {
    const backend = open(root, { options: ["dm.use_deferred_deletion=false"] });
    const chain = active("layer");
    backend.prepare(chain);
    const [{ source }] = backend.mounts(chain);
    const child = new Deno.Command("unshare", {
      args: ["-m", "sh", "-c", 'mount "$0" /mnt && echo ready && exec sleep 600', source],
      stdout: "piped",
    }).spawn();
    const reader = child.stdout.getReader();
    try {
      await reader.read();
      for (const use of [() => backend.seal(chain), () => backend.checkUnused(chain)]) {
        const { code, message } = fails(use);
        assertEquals(code, "in use");
        assertMatch(
          message,
          /is mounted at \/mnt \(mount namespace \d+, (?:sh|sleep) \(pid \d+\)\)/,
        );
      }
    } finally {
      child.kill("SIGKILL");
      await child.status;
      await reader.cancel();
    }
    backend.seal(chain);
  },
  onlyOnce,
);

test("removal takes whatever there is, and once more nothing", (root, mnt) => {
  const backend = open(root);
  backend.remove("never");
  commit(backend, active("one"), mnt);
  const before = Number(new Map(backend.status()).get("Deferred Deleted Device Count"));
  assertEquals(before, 0);
  backend.remove("one");
  backend.remove("one");
  assertEquals(backend.list(), []);
  // One that is only marked as to be deleted.
  backend.prepare(active("two"));
  const record = backend.home.join("metadata", "two");
  const text = Deno.readTextFileSync(record.text);
  Deno.writeTextFileSync(record.text, text.replace('"deleted":false', '"deleted":true'));
  assertEquals(backend.list(), ["two"]);
  backend.remove("two");
  assertEquals(backend.list(), []);
  // One whose record is damaged is not guessed at.
  backend.prepare(active("three"));
  Deno.writeTextFileSync(backend.home.join("metadata", "three").text, "{");
  assertEquals(fails(() => backend.remove("three")).code, "corrupt store");
  assertEquals(backend.list(), ["three"]);
}, onlyOnce);

test("a busy device that may go later is deleted when it is free", (root) => {
  const backend = open(root, { warn: () => {} }); // The kernel has it, so it is on.
  backend.prepare(active("layer"));
  {
    const [{ source }] = backend.mounts(active("layer"));
    using _held = Deno.openSync(source);
    assertEquals(fails(() => backend.seal(active("layer"))).code, "in use");
    backend.checkUnused(active("layer"));
    assertEquals(fails(() => backend.remove("layer")).code, "in use");
    assertEquals(backend.list(), ["layer"]);
  }
  backend.remove("layer");
  assertEquals(backend.list(), []);
}, onlyOnce);

test("usage is what a layer's device was given itself", (root, mnt) => {
  const backend = open(root, { options: ["dm.blocksize=64K"] });
  const random = (name: string, bytes: number) =>
    must(
      "dd",
      "if=/dev/urandom",
      `of=${mnt}/${name}`,
      `bs=${bytes}`,
      "count=1",
      "conv=fsync",
      "status=none",
    );
  const [one, two] = [active("one"), active("two", "one")];
  backend.prepare(one);
  assertEquals(backend.usage(one), { bytes: 0, inodes: 0 });
  mounted(backend, one, mnt, () => {
    random("file", 8 << 20);
    assertEquals(backend.usage(one).inodes, 1, "of what is mounted here, as it is");
  });
  backend.seal(one);
  const MiB = 1 << 20;
  const first = backend.usage(one);
  assertEquals(first.inodes, 1);
  assert(first.bytes >= 8 * MiB && first.bytes < 12 * MiB, String(first.bytes));
  assertEquals(deviceNames().filter((name) => name.endsWith("-one")), [], "it is not left active");

  backend.prepare(two);
  assertEquals(backend.usage(two), { bytes: 0, inodes: 0 });
  // A process was killed that read the metadata.
  const pool = deviceNames().find((name) => name.endsWith("-pool"))!;
  sendMessage(pool, "reserve_metadata_snap");
  mounted(backend, two, mnt, () => {
    for (const name of ["a", "b", "c"]) random(name, 2 * MiB);
  });
  const second = backend.usage(two);
  assertEquals(second.inodes, 3);
  assert(second.bytes >= 6 * MiB && second.bytes < 10 * MiB, String(second.bytes));
  assertEquals(backend.usage(one), first, "a child changes nothing");
  mounted(backend, two, mnt, () => {
    for (const name of ["a", "b", "c", "file"]) Deno.removeSync(`${mnt}/${name}`);
    must("fstrim", mnt);
  });
  const third = backend.usage(two);
  assertEquals(third.inodes, 0, "fewer than the parent's are none");
  // How much of it goes is up to the file system, which writes its log as well.
  assert(third.bytes < second.bytes - MiB, `${third.bytes} of ${second.bytes}`);
  assertEquals(backend.usage(one), first, "nor does what it gives back");

  // Together they are what the pool has, but for the base's.
  backend.seal(two);
  const status = must("dmsetup", "status", pool);
  const used = Number(/ (\d+)\/\d+ (\d+)\/\d+ /.exec(status)![2]) * 65536;
  const base = used - first.bytes - third.bytes;
  assert(base > 0 && base < 12 * MiB, `the base has ${base}`);
});

test("usage is told of a device with a deep tree of blocks", (root, mnt) => {
  const backend = open(root, { options: ["dm.basesize=512M"] });
  backend.prepare(active("one"));
  mounted(backend, active("one"), mnt, () => {
    // More blocks than one node of the tree has room for.
    must("fallocate", "-l", "128M", `${mnt}/zeros`);
    must(
      "dd",
      "if=/dev/zero",
      `of=${mnt}/zeros`,
      "bs=1M",
      "count=128",
      "conv=notrunc,fsync",
      "status=none",
    );
  });
  const { bytes } = backend.usage(active("one"));
  assert(bytes >= 128 << 20 && bytes < 160 << 20, String(bytes));
  backend.seal(active("one"));
  backend.prepare(active("two", "one"));
  assertEquals(backend.usage(active("two", "one")), { bytes: 0, inodes: 0 });
}, onlyOnce);

test("close takes the pool down, and what comes next brings it up", (root, mnt) => {
  const backend = open(root);
  commit(backend, active("one"), mnt, () => Deno.writeTextFileSync(`${mnt}/file`, "kept"));
  backend.release();
  assertNoDevices(root);
  backend.release();
  backend.prepare(view("two", "one"));
  mounted(backend, view("two", "one"), mnt, () => {
    assertEquals(Deno.readTextFileSync(`${mnt}/file`), "kept");
  });
  backend.release();
  // Mounts of a view that was there before a boot.
  const [{ source }] = open(root).mounts(view("two", "one"));
  assert(Deno.statSync(source).isBlockDevice);
});

test(
  "mapped ids: a first layer's root belongs to container root, and a kill leaves nothing",
  (root, mnt) => {
    const map = new IdMap([{ container: 0, host: 100_000, size: 65_536 }]);
    const backend = open(root, { idMaps: { uids: map, gids: map } });
    commit(backend, active("one"), mnt, () => {
      const { uid, gid } = Deno.statSync(mnt);
      assertEquals([uid, gid], [100_000, 100_000]);
      assertEquals(names(mnt), []);
    });
    assertEquals(names(backend.home.own("staging").text), []);
    // As a process leaves it that is killed while it changes the owner.
    backend.prepare(active("two"));
    Deno.mkdirSync(backend.home.staging("two").text);
    must("mount", backend.mounts(active("two"))[0].source, backend.home.staging("two").text);
    backend.remove("two");
    assertEquals(backend.list(), ["one"]);
  },
  onlyOnce,
);

test("a base device that was left half made and mounted is made anew", (root, mnt) => {
  const backend = open(root);
  commit(backend, active("one"), mnt);
  const record = backend.home.join("metadata", "base");
  const text = Deno.readTextFileSync(record.text);
  Deno.writeTextFileSync(record.text, text.replace('"initialized":true', '"initialized":false'));
  const pool = deviceNames().find((name) => name.endsWith("-pool"))!;
  const base = pool.replace(/pool$/, "base");
  const { device_id, size } = JSON.parse(text);
  const table = `0 ${size / 512} thin /dev/mapper/${pool} ${device_id}`;
  must("dmsetup", "create", base, "--table", table);
  Deno.mkdirSync(backend.home.join("mnt", ".grow").text);
  must("mount", `/dev/mapper/${base}`, backend.home.join("mnt", ".grow").text);
  commit(backend, active("two"), mnt, () => assertEquals(names(mnt), []));
  assertEquals(names(backend.home.join("mnt").text), []);
}, onlyOnce);

test("128 layers lie on one another", (root, mnt) => {
  const backend = open(root);
  const parents: string[] = [];
  for (let i = 0; i < 128; i++) {
    const chain = active(`layer${i}`, ...parents);
    backend.prepare(chain);
    if (i % 16 === 0) {
      mounted(backend, chain, mnt, () => Deno.writeTextFileSync(`${mnt}/${i}`, String(i)));
    }
    backend.seal(chain);
    parents.unshift(`layer${i}`);
  }
  backend.prepare(view("top", ...parents));
  mounted(backend, view("top", ...parents), mnt, () => {
    const expected = Array.from({ length: 8 }, (_, i) => String(i * 16)).sort();
    assertEquals(names(mnt), expected);
  });
}, onlyOnce);

for (const first of ["layers", "snapshots"]) {
  test(`a given pool is one store's alone: the ${first} came first`, (root) => {
    using data = loopDevice(`${root}/data.img`, 256 << 20);
    using meta = loopDevice(`${root}/meta.img`, 8 << 20);
    const pool = `veneer-test-${Deno.pid}`;
    const table = `0 524288 thin-pool ${meta.path} ${data.path} 128 0 1 skip_block_zeroing`;
    must("dmsetup", "create", pool, "--table", table);
    const options = [`dm.thinpooldev=${pool}`];
    const layers = openStore(root, { options }), snapshots = open(root, { options });
    try {
      // To have looked at an empty pool is enough to own it.
      const [looks, refused] = first === "layers"
        ? [() => layers.status(), () => snapshots.prepare(active("one"))]
        : [() => snapshots.status(), () => layers.create("one")];
      looks();
      const { code, message } = fails(refused);
      assertEquals(code, "incompatible");
      assertMatch(
        message,
        /^pool veneer-test-\d+ is at transaction \d+ .* in use by something else; give dm\.thinpooldev a new pool$/,
      );
      if (first === "layers") layers.create("one");
      else snapshots.prepare(active("one"));
      assertEquals(fails(refused).code, "incompatible");
    } finally {
      layers.cleanup();
      snapshots.release();
      must("dmsetup", "remove", "--retry", pool);
    }
  }, onlyOnce);
}
