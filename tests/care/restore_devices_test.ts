/** `repair --from` of layers and snapshots that are thin devices. */
// @runs on guest ext4
import { assertEquals, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { VeneerError } from "../../lib/base/errors.ts";
import { needs } from "../support/cases.ts";
import { openDriver, openSnapshotter } from "../support/drivers.ts";
import { storeDir } from "../support/store_dir.ts";
import { lacking, SMALL } from "../drivers/devicemapper/support.ts";
import {
  APP,
  fill,
  inFiles,
  linesOf,
  makeTars,
  type Place,
  restore,
  restoreEach,
} from "./restore_subjects.ts";

/** In a guest, starting a worker takes longer than what it does. */
const options = [...SMALL, "workers=0"];

for (const  of of["layers", "snapshots"] as const) {
  needs(lacking, `repair --from restores each damage of devices: ${of}`, async (t) => {
    using dir = storeDir();
    const place: Place = { root: join(dir.path, "root"), driver: "devicemapper", of, options };
    const tars = makeTars(dir.path);
    fill(place, tars);
    await restoreEach(t, place, tars.app);
    await t.step("all files lost", () => {
      const right = linesOf(place, APP);
      inFiles(place, APP, (own) => {
        for (const { name } of Deno.readDirSync(own)) {
          Deno.removeSync(join(own, name), { recursive: true });
        }
      });
      restore(place, tars.app);
      assertEquals(linesOf(place, APP), right);
    });
    await t.step("refused while it is mounted, and then not", () => {
      using store = of === "layers" ? openDriver(place) : openSnapshotter(place);
      if ("get" in store) store.get(APP, { readOnly: true });
      else store.view("seen", APP);
      if ("get" in store) {
        assertThrows(() => restore(place, tars.app), VeneerError, "is mounted at");
        store.put(APP);
      } else {
        // A view is a device of its own.
        store.mount("seen");
        assertEquals(restore(place, tars.app).restored, []);
        store.unmount("seen");
        store.remove("seen");
      }
      assertEquals(restore(place, tars.app).restored, []);
      assertEquals(
        store.cleanup((error) => {
          throw error;
        }).filter((line) => line.includes("unmounted")),
        [],
      );
    });
  });
}
