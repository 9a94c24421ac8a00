/** Layers into which overlay wrote references to content elsewhere, by options that Veneer does not use. */
// @runs on ext4, guest ext4
// @runs long on xfs, btrfs, guest xfs
import { assertEquals } from "@std/assert";
import { mount, umount } from "../../../ffi/mount.ts";
import { openDriver } from "../../support/drivers.ts";
import { formatChange } from "../../../lib/tree/changes.ts";
import { IDENTITY } from "../../../lib/base/id_maps.ts";
import type { GraphDriver } from "../../../lib/graph/driver.ts";
import { lacksFileSystem, must, needs } from "../../support/cases.ts";
import { apply, diff } from "../../support/layers.ts";
import { storeDir } from "../../support/store_dir.ts";
import { assertFails } from "../../support/errors.ts";

function open(root: string): GraphDriver {
  return openDriver({
    root,
    driver: "overlay2",
    options: ["overlay2.allow_btrfs=true"],
    idMaps: IDENTITY,
    warn: (message) => console.error(message),
  });
}

const CASES = {
  redirect_dir: {
    change: (root: string) => Deno.renameSync(`${root}/dir`, `${root}/moved`),
    changes: ["D /dir", "A /moved", "A /moved/file"],
  },
  metacopy: {
    change: (root: string) => Deno.chmodSync(`${root}/dir/file`, 0o600),
    changes: ["C /dir", "C /dir/file"],
  },
};

for (const [option, { change, changes }] of Object.entries(CASES)) {
  needs(
    lacksFileSystem("overlay"),
    `overlay2: a layer written with ${option} on is read where that is on alone`,
    () => {
      using dir = storeDir();
      const store = open(`${dir.path}/root`);
      Deno.mkdirSync(`${dir.path}/tree/dir`, { recursive: true });
      Deno.writeTextFileSync(`${dir.path}/tree/dir/file`, "content");
      must("tar", "-C", `${dir.path}/tree`, "-cf", `${dir.path}/base.tar`, ".");
      store.create("base");
      apply(store, "base", `${dir.path}/base.tar`);
      store.create("child", { parent: "base" });
      const { home } = store;
      const [lower, upper, work] = ["base/diff", "child/diff", "child/work"].map((p) =>
        `${home}/${p}`
      );
      Deno.mkdirSync(`${dir.path}/merged`);
      mount({
        source: "overlay",
        target: `${dir.path}/merged`,
        type: "overlay",
        data: `lowerdir=${lower},upperdir=${upper},workdir=${work},${option}=on`,
      });
      change(`${dir.path}/merged`);
      umount(`${dir.path}/merged`);

      assertFails("failed precondition", () => diff(store, "child", undefined, dir.path));
      withParameter(option, () => {
        const byMount = open(`${dir.path}/root`);
        assertEquals([...byMount.changes("child", undefined)].map(formatChange), changes);
        const tar = diff(byMount, "child", undefined, dir.path);
        assertEquals(must("tar", "-xOf", tar, changes.at(-1)!.slice(3)), "content");
        byMount.remove("child");
        byMount.remove("base");
        byMount.cleanup();
      });
    },
  );
}

/** Turns a parameter of overlay on for as long as `use` takes. */
function withParameter(name: string, use: () => void): void {
  const path = `/sys/module/overlay/parameters/${name}`;
  const before = Deno.readTextFileSync(path);
  Deno.writeTextFileSync(path, "Y");
  try {
    use();
  } finally {
    Deno.writeTextFileSync(path, before);
  }
}
