/** Whatever made a layer, and whenever: the layer that it stands on is not removed. */
// @runs on ext4, guest ext4
// @runs long on xfs, btrfs, guest xfs
import { assertEquals } from "@std/assert";
import { openDriver } from "../../support/drivers.ts";
import { IDENTITY } from "../../../lib/base/id_maps.ts";
import { lacksFileSystem, needs } from "../../support/cases.ts";
import { storeDir } from "../../support/store_dir.ts";
import { assertFails } from "../../support/errors.ts";

/** Makes a layer as Docker does, on another. */
function makeLayer(home: string, id: string, link: string, lower?: string): void {
  for (const name of ["diff", "work"]) Deno.mkdirSync(`${home}/${id}/${name}`, { recursive: true });
  Deno.writeTextFileSync(`${home}/${id}/link`, link);
  if (lower !== undefined) Deno.writeTextFileSync(`${home}/${id}/lower`, lower);
  Deno.symlinkSync(`../${id}/diff`, `${home}/l/${link}`);
}

/** Waits until what was written can be told from what is written next. */
const settle = () => new Promise((resolve) => setTimeout(resolve, 2500));

needs(lacksFileSystem("overlay"), "overlay2: children that others make are seen", async () => {
  using dir = storeDir();
  const driver = openDriver({
    root: `${dir.path}/root`,
    driver: "overlay2",
    options: ["overlay2.allow_btrfs=true"],
    idMaps: IDENTITY,
    warn: (message) => console.error(message),
  });
  const { home } = driver;
  for (const id of ["base", "other"]) driver.create(id);
  const [base, other] = ["base", "other"].map((id) =>
    `l/${Deno.readTextFileSync(`${home}/${id}/link`)}`
  );
  const refused = (id: string, child: string) =>
    assertEquals(
      assertFails("in use", () => driver.remove(id)).message,
      `layer ${id} has children: ${child}; remove them first`,
    );
  makeLayer(home, "child", "CHILD", base);
  refused("base", "child");
  await settle();
  refused("base", "child"); // This time it is remembered.
  refused("base", "child");
  makeLayer(home, "grandchild", "GRANDCHILD", `l/CHILD:${base}`);
  refused("child", "grandchild");
  refused("base", "child");

  // The same file with other content, and another file of the same name.
  Deno.writeTextFileSync(`${home}/child/lower`, other);
  refused("other", "child");
  Deno.removeSync(`${home}/child/lower`);
  Deno.writeTextFileSync(`${home}/child/lower`, base);
  refused("base", "child");
  // By a second name of the layer below.
  Deno.symlinkSync("../base/diff", `${home}/l/SECOND`);
  Deno.writeTextFileSync(`${home}/child/lower`, "l/SECOND");
  refused("base", "child");

  for (const id of ["grandchild", "child", "base", "other"]) driver.remove(id);
  assertEquals(driver.layers(), []);
});
