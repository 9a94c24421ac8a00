/**
 * What the kill tests of devicemapper kill.
 *
 *     kill_child.ts killer|strace ROOT create|remove|grow|reset|mount|unmount|start
 */
import { openSet, openStore } from "./support.ts";
import { beginHere, endHere } from "../kill/killer.ts";

if (import.meta.main) {
  const [by, root, operation] = Deno.args;
  const warn = () => {};
  const operations: Record<string, () => () => void> = {
    create() {
      const driver = openStore(root, { warn });
      driver.status();
      return () => driver.create("new", { parent: "bottom" });
    },
    remove() {
      const driver = openStore(root, { warn });
      driver.status();
      return () => driver.remove("victim");
    },
    grow() {
      const driver = openStore(root, { warn });
      driver.status();
      const storageOptions = new Map([["size", "80M"]]);
      return () => driver.createReadWrite("new", { parent: "bottom", storageOptions });
    },
    reset() {
      const set = openSet(root, { warn });
      set.status();
      return () => set.reset("victim", "bottom");
    },
    mount() {
      const driver = openStore(root, { warn });
      driver.status();
      return () => driver.get("bottom");
    },
    unmount() {
      const driver = openStore(root, { warn });
      driver.get("bottom");
      return () => driver.put("bottom");
    },
    start: () => () => openStore(root, { warn }).create("new"),
  };
  const run = operations[operation]();
  beginHere(by as "killer" | "strace");
  run();
  endHere(0);
}
