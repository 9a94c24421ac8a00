/** Thin devices as a program opens them: the contract of `openDeviceSet`. */
// @runs on guest ext4
// @runs long on guest xfs
import { assert, assertEquals } from "@std/assert";
import { openDeviceSet, openDriver } from "../../../mod.ts";
import { isMountPoint } from "../../../lib/mount/mountinfo.ts";
import { mountPoints, needs } from "../../support/cases.ts";
import { assertFails } from "../../support/errors.ts";
import { storeDir } from "../../support/store_dir.ts";
import { assertNoDevices, deviceNames, FILE_SYSTEM, lacking, SMALL } from "./support.ts";

/** A busy device is refused then, and not removed later. */
const OPTIONS = [...SMALL, "dm.use_deferred_removal=false"];

needs(lacking, `devices with ${FILE_SYSTEM}: made of each other, mounted, removed`, async () => {
  using dir = storeDir();
  const root = `${dir.path}/root`, at = `${dir.path}/mnt`;
  Deno.mkdirSync(at);
  using devices = await openDeviceSet({ root, options: OPTIONS });
  assertEquals([devices.name, devices.home, devices.list()], [
    "devicemapper",
    `${Deno.realPathSync(root)}/devicemapper`,
    [],
  ]);
  devices.add("template");
  devices.mount("template", at);
  Deno.writeTextFileSync(`${at}/motd`, "welcome");
  devices.unmount("template", at);
  assertFails("invalid argument", () => devices.add("small", { origin: "template", size: 1 }));
  devices.add("copy", { origin: "template", size: 128 << 20 });
  assertEquals(devices.list(), ["copy", "template"]);

  const inactive = devices.describe("copy");
  assertEquals([inactive.id, inactive.size, inactive.path], ["copy", 128 << 20, undefined]);
  const path = devices.activate("copy");
  assertEquals(devices.describe("copy").path, path);
  assert(Deno.statSync(path).isBlockDevice);
  assert(deviceNames().includes(inactive.deviceName));
  devices.deactivate("copy");
  assertEquals(devices.describe("copy"), inactive);

  devices.mount("copy", at, { readOnly: true });
  assertEquals(Deno.readTextFileSync(`${at}/motd`), "welcome");
  assertFails("in use", () => devices.deactivate("copy"));
  devices.unmount("copy", at);
  devices.remove("template");
  assertEquals([devices.list(), devices.exists("template")], [["copy"], false]);
  assert(devices.status().some(([name]) => name === "Pool Name"));

  devices.shutdown();
  assertNoDevices(root);
  assertEquals(mountPoints(dir.path), []);
  assertEquals(devices.list(), ["copy"], "the store goes on");
  devices.remove("copy");
  devices.shutdown();
});

needs(lacking, `devices with ${FILE_SYSTEM}: what cannot be is refused`, async () => {
  using dir = storeDir();
  const root = `${dir.path}/root`;
  const devices = await openDeviceSet({ root, options: OPTIONS });
  for (
    const id of ["", ".", "../x", "a/b", "base", "pool", "deviceset-metadata", "x".repeat(120)]
  ) {
    assertFails("invalid argument", () => devices.add(id));
  }
  assertFails("not found", () => devices.add("a", { origin: "nothing" }));
  for (
    const call of [
      () => devices.remove("nothing"),
      () => devices.describe("nothing"),
      () => devices.activate("nothing"),
      () => devices.deactivate("nothing"),
      () => devices.mount("nothing", root),
      () => devices.unmount("nothing", root),
    ]
  ) assertFails("not found", () => void call());
  devices.add("a");
  assertFails("already exists", () => devices.add("a"));

  // They are those that layers are kept in.
  using layers = await openDriver({ root, driver: "devicemapper", options: OPTIONS });
  layers.create("layer");
  assertEquals(devices.list(), ["a", "layer"]);
  assertFails("already exists", () => devices.add("layer"));
  const path = layers.get("layer");
  assert(isMountPoint(path) || isMountPoint(`${path}/..`));
  assertFails("in use", () => devices.deactivate("layer"));
  layers.put("layer");
  layers.remove("layer");
  devices.remove("a");
  devices.shutdown();
  devices.close();
  const { message } = assertFails("failed precondition", () => devices.list());
  assertEquals(message, `the store at ${devices.home} was closed; open it again`);
  layers.cleanup();
});
