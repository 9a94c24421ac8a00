/**
 * One of several processes that use a store at once: makes layers below `parent`, writes to them, and removes
 * some.
 *
 *     worker.ts ROOT NAME COUNT
 */
import { openStore } from "./support.ts";

if (import.meta.main) {
  const [root, name, count] = Deno.args;
  const driver = openStore(root);
  for (let i = 0; i < Number(count); i++) {
    const id = `${name}${i}`;
    driver.create(id, { parent: "parent" });
    Deno.writeTextFileSync(`${driver.get(id)}/own`, id);
    driver.put(id);
    if (i % 3 === 2) driver.remove(`${name}${i - 1}`);
  }
}
