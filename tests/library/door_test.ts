/**
 * The package's door: what a program imports, and what opening does with all that is left out.
 */
import { assert, assertEquals, assertRejects } from "@std/assert";
import * as veneer from "../../mod.ts";
import { isMountPoint } from "../../lib/mount/mountinfo.ts";
import { lacksFileSystem, must, needs } from "../support/cases.ts";
import { storeDir } from "../support/store_dir.ts";

Deno.test("library: the package is the library, and its command another entry", async () => {
  const config = JSON.parse(await Deno.readTextFile(new URL("../../deno.json", import.meta.url)));
  assertEquals(config.exports, { ".": "./mod.ts", "./cli": "./main.ts" });
  assertEquals(Object.keys(veneer).sort(), [
    "IDENTITY",
    "IdMap",
    "SyscallError",
    "VeneerError",
    "codeOf",
    "formatChange",
    "openDeviceSet",
    "openDriver",
    "openSnapshotter",
  ]);
});

needs(lacksFileSystem("overlay"), "library: a root is enough to open a store", async () => {
  using dir = storeDir();
  const root = `${dir.path}/root`;
  using layers = await veneer.openDriver({ root });
  using snapshots = await veneer.openSnapshotter({ root });
  assertEquals([layers.name, layers.home], ["overlay2", `${Deno.realPathSync(root)}/overlay2`]);
  assertEquals(
    [snapshots.name, snapshots.home],
    ["overlay2", `${Deno.realPathSync(root)}/snapshots/overlay2`],
  );
  layers.create("base");
  const other = { root, driver: "btrfs" };
  for (const open of [() => veneer.openDriver(other), () => veneer.openDeviceSet({ root })]) {
    const error = await assertRejects(open, veneer.VeneerError);
    assertEquals(error.code, "incompatible");
  }
  const wrong = { root, options: ["overlay2.sise=1G"] };
  const error = await assertRejects(() => veneer.openDriver(wrong), veneer.VeneerError);
  assertEquals(error.code, "invalid argument");
});

needs(lacksFileSystem("overlay"), "library: warnings are the console's, unless taken", async () => {
  using dir = storeDir();
  const root = `${dir.path}/root`;
  const warnings: string[] = [];
  const open = async (options: veneer.OpenOptions) => {
    using layers = await veneer.openDriver({ root, ...options });
    layers.layers();
  };
  await open({});
  // A record of a parent that cannot be read is a warning.
  must("mkdir", "-p", `${root}/overlay2/damaged/diff`, `${root}/overlay2/damaged/lower`);
  Deno.writeTextFileSync(`${root}/overlay2/damaged/link`, "A".repeat(26));
  await open({ warn: (message) => warnings.push(message) });
  assertEquals(warnings.length, 1);
  const { warn } = console, said: unknown[][] = [];
  console.warn = (...words) => said.push(words);
  try {
    await open({});
  } finally {
    console.warn = warn;
  }
  assertEquals(said, [warnings]);
});

needs(
  lacksFileSystem("overlay"),
  "library: a store is disposed of at the end of a block",
  async () => {
    using dir = storeDir();
    const root = `${dir.path}/root`;
    let home: string;
    {
      using layers = await veneer.openDriver({ root });
      home = layers.home;
      layers.create("base");
      layers.create("app", { parent: "base" });
      layers.get("app");
      layers.put("app");
      assert(isMountPoint(home));
    }
    assert(!isMountPoint(home));
  },
);
