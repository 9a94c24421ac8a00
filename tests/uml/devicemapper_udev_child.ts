/**
 * A process that uses a store while udev runs, and says what it sees, as JSON.
 *
 *     devicemapper_udev_child.ts ROOT
 */
import { isUdevSynced } from "../../ffi/devmapper.ts";
import { openStore } from "./devicemapper_support.ts";

if (import.meta.main) {
  const driver = openStore(Deno.args[0]);
  driver.create("layer");
  driver.get("layer");
  const name = driver.getMetadata("layer").get("DeviceName")!;
  const node = Deno.lstatSync(`/dev/mapper/${name}`);
  const status = new Map(driver.status()).get("Udev Sync Supported");
  driver.put("layer");
  driver.remove("layer");
  driver.cleanup();
  const left = [...Deno.readDirSync("/dev/mapper")].map(({ name }) => name);
  console.log(JSON.stringify({ synced: isUdevSynced(), status, isLink: node.isSymlink, left }));
}
