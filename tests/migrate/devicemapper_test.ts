/** `migrate` from overlay2 to devicemapper and back, in a guest: all that a store shows is the same. */
// @runs on guest ext4
import { assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { needs } from "../support/cases.ts";
import { openDriver } from "../support/drivers.ts";
import { storeDir } from "../support/store_dir.ts";
import { lacking, SMALL } from "../drivers/devicemapper/support.ts";
import { assertSame } from "../drivers/same_tree/suite.ts";
import { factsOf, makeStores, outcomeOf, type Place } from "./support.ts";

/** In a guest, starting a worker takes longer than what it does. */
const ALONE = "workers=0";

needs(lacking, "migrate: overlay2, devicemapper and overlay2 show the same", async (t) => {
  using dir = storeDir();
  const first: Place = { root: join(dir.path, "root"), driver: "overlay2", options: [ALONE] };
  const second: Place = {
    root: join(dir.path, "root"),
    driver: "devicemapper",
    options: [...SMALL, ALONE],
  };
  const third: Place = { root: join(dir.path, "root/third"), driver: "overlay2", options: [ALONE] };
  makeStores(first, dir.path, [3]);
  {
    using layers = openDriver(first);
    layers.createReadWrite("limited", {
      parent: "3-0",
      storageOptions: new Map([["size", "100M"]]),
    });
  }
  // The second one compares the trees of both.
  for (const [from, to, ...more] of [[first, second], [second, third, "--verify"]] as const) {
    await t.step(`from ${from.driver} to ${to.driver}`, () => {
      const { code, stores, stderr } = outcomeOf(from, to, ...more);
      assertEquals({ code, stderr }, { code: 0, stderr: "" });
      assertEquals(stores.map(({ failed }) => failed), [[], []]);
    });
  }
  await t.step("all is the same, and the limit", () => {
    const facts = factsOf(first);
    assertSame(factsOf(second), facts, "devicemapper");
    assertSame(factsOf(third), facts, "overlay2 again");
    using device = openDriver(second), again = openDriver(third);
    assertStringIncludes(device.getMetadata("limited").get("DeviceSize")!, String(100 << 20));
    assertEquals(again.getMetadata("limited").get("Size"), String(100 << 20));
  });
});
