/** A disk that a container filled to its last byte: what there is is listed, unmounted and removed all the same. */
// @runs on ext4, xfs, btrfs, guest ext4
// @runs long on guest xfs
import { assert, assertEquals } from "@std/assert";
import { openDriver } from "../../support/drivers.ts";
import { openSnapshotter } from "../../support/drivers.ts";
import { statfs } from "../../../ffi/statfs.ts";
import type { OpenOptions } from "../../../drivers/registry.ts";
import { IDENTITY } from "../../../lib/base/id_maps.ts";
import { messageOf, VeneerError } from "../../../lib/base/errors.ts";
import type { Snapshotter } from "../../../lib/snapshots/snapshotter.ts";
import { mountImage } from "../../runner/images.ts";
import { needs, tempDir } from "../../support/cases.ts";
import { fill, SMALL_DISKS } from "../../support/full_disk.ts";

for (const [kind, mebibytes, driver, lacking] of SMALL_DISKS) {
  const full = (name: string, body: (options: OpenOptions, mountPoint: string) => void) =>
    needs(lacking, `${driver} on a full ${kind}: ${name}`, () => {
      using dir = tempDir();
      using image = mountImage(kind, dir.path, mebibytes << 20);
      const warn = (message: string) => {
        throw new Error(`a warning: ${message}`);
      };
      const root = `${image.mountPoint}/root`;
      body({ root, driver, options: [], idMaps: IDENTITY, warn }, image.mountPoint);
    });

  full("snapshots are listed, unmounted and removed", (options, mountPoint) => {
    const target = `${mountPoint}/target`;
    Deno.mkdirSync(target);
    const opened = () => openSnapshotter(options);
    const first = opened();
    first.prepare("key", "");
    first.commit("base", "key");
    for (const key of ["a", "b", "c"]) {
      first.prepare(key, "base", { labels: new Map([[key, key]]) });
    }
    const all = ["a", "b", "base", "c"];
    first.mount("a", target);
    first.close();
    fill(target);
    assert(statfs(mountPoint).availableBytes < 1 << 16);

    const names = (snapshots: Snapshotter) => Array.from(snapshots.walk(), ({ name }) => name);
    // Each as a command of its own, with the disk filled again between them.
    const command = <T>(use: (snapshots: Snapshotter) => T): T => {
      const snapshots = opened();
      try {
        return use(snapshots);
      } finally {
        snapshots.close();
        fill(target);
      }
    };
    assertEquals(command(names), all);
    assertEquals(command((snapshots) => snapshots.stat("a").kind), "active");
    assertEquals(command((snapshots) => snapshots.mounts("b").length), 1);
    command((snapshots) => snapshots.remove("b"));
    assertEquals(command(names), ["a", "base", "c"]);
    command((snapshots) => snapshots.remove("c"));

    const last = opened();
    last.unmountAt(target);
    last.remove("a");
    assertEquals(last.cleanup(), []);
    last.remove("base");
    assertEquals(names(last), []);
    last.close();
    // There is room again.
    const after = opened();
    after.prepare("new", "");
    after.close();
  });

  full("layers are listed, unmounted and removed", (options) => {
    const driver = openDriver(options);
    driver.create("base");
    for (const id of ["a", "b"]) driver.create(id, { parent: "base" });
    const root = driver.get("a");
    fill(root);
    const ids = () => openDriver(options).layers().map(({ id }) => id);
    assertEquals(ids(), ["a", "b", "base"]);
    openDriver(options).remove("b");
    fill(root);
    assertEquals(ids(), ["a", "base"]);
    try {
      driver.create("c", { parent: "base" });
      driver.remove("c");
    } catch (error) {
      assert(!(error instanceof VeneerError) || error.code === "limit exceeded", messageOf(error));
    }
    assertEquals(ids(), ["a", "base"]);
    openDriver(options).put("a");
    openDriver(options).remove("a");
    openDriver(options).remove("base");
    openDriver(options).cleanup();
    assertEquals(ids(), []);
  });
}
