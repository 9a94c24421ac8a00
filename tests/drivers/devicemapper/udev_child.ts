/**
 * A process that uses a store while udev runs, and says what it sees, as JSON.
 *
 *     udev_child.ts ROOT
 */
import { deviceInfo, isUdevSynced } from "../../../ffi/devmapper.ts";
import { examine } from "../../../drivers/devicemapper/examine.ts";
import { messageOf } from "../../../lib/base/errors.ts";
import { sleep } from "../../../lib/base/sleep.ts";
import { openStore } from "./support.ts";
import { must } from "../../support/cases.ts";
import { names } from "../../support/files.ts";

if (import.meta.main) {
  const driver = openStore(Deno.args[0]);
  driver.create("layer");
  driver.get("layer");
  const name = driver.getMetadata("layer").get("DeviceName")!;
  const node = Deno.lstatSync(`/dev/mapper/${name}`);
  const status = new Map(driver.status()).get("Udev Sync Supported");
  driver.put("layer");
  // A device that goes later does so without anyone to wait for its cookie; until then its node is there.
  driver.get("layer");
  const user = Deno.openSync(`/dev/mapper/${name}`);
  driver.put("layer");
  const deferred = deviceInfo(name)?.deferredRemove;
  driver.get("layer");
  const kept = [
    deviceInfo(name)?.deferredRemove,
    Deno.statSync(`/dev/mapper/${name}`).isBlockDevice,
  ];
  driver.put("layer");
  user.close();
  while (deviceInfo(name) !== undefined) sleep(5);
  driver.remove("layer");
  driver.cleanup();
  must("udevadm", "settle", "--timeout=120"); // the device that went later had no waiter
  const left = names("/dev/mapper");
  const found = { synced: isUdevSynced(), status, isLink: node.isSymlink, deferred, kept, left };

  // As a library is that cannot wait.
  // void dm_udev_set_sync_support(int sync_with_udev);
  Deno.dlopen("libdevmapper.so.1.02.1", {
    dm_udev_set_sync_support: { parameters: ["i32"], result: "void" },
  }).symbols.dm_udev_set_sync_support(0);
  const doctor = examine(Deno.args[0]).filter(({ state }) => state !== "ok").map(({ what }) =>
    what
  );
  const refusal = catchError(() => openStore(Deno.args[0]));
  const risked = openStore(Deno.args[0], { options: ["dm.override_udev_sync_check=true"] });
  const riskedStatus = new Map(risked.status()).get("Udev Sync Supported");
  risked.cleanup();
  console.log(JSON.stringify({ ...found, doctor, refusal, riskedStatus }));
}

function catchError(call: () => unknown): string | undefined {
  try {
    call();
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}
