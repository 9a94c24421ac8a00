/** `repair --from` an image: a layout, an archive, and one in the store. */
// @runs on ext4, btrfs
import { assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path";
import { image, OCI_LAYER, oneImage, tarOf, writeFiles } from "../images/builder.ts";
import { lacksFileSystem, must, needs, TEST_FS } from "../support/cases.ts";
import { refusal, TestStore } from "../support/commands.ts";
import { openDriver } from "../support/drivers.ts";
import { isThere, names, read } from "../support/files.ts";

const driver = TEST_FS === "btrfs" ? "btrfs" : "overlay2";

class DriverStore extends TestStore {
  override readonly options = ["--root", this.root, "--driver", driver];
}

const lacking = driver === "btrfs" ? undefined : lacksFileSystem("overlay");

interface Restored {
  readonly restored: { path: string; fault: string }[];
  readonly left: unknown[];
}

/** An image of two layers, as a layout, and the same layers in a store. */
function makeStore(store: TestStore, record: string): { layout: string; own: string } {
  const base = store.tar("base.tar", { "etc/base": "base" });
  const app = store.tar("app.tar", { "etc/app": "app", "lib/one": "1", "lib/two": "2" });
  using layers = openDriver({ root: store.root, driver, options: [`record=${record}`] });
  for (const [id, parent, tar] of [["base", "", base], ["app", "base", app]]) {
    layers.create(id, { parent });
    layers.applyDiff(id, undefined, tar);
  }
  layers.create("top", { parent: "app" });
  const built = image([base, app].map((path) => {
    const plain = Deno.readFileSync(path);
    return { plain, file: plain, mediaType: OCI_LAYER };
  }));
  const layout = writeFiles(store.path("layout"), oneImage(built));
  const own = join(store.root, driver, driver === "btrfs" ? "subvolumes/app" : "app/diff");
  return { layout, own };
}

needs(lacking, "cli: repair --from takes a layer's files from an image", () => {
  // With hashes the layer's tar is known by its digest; without, by the layers below it.
  for (const record of ["hash", "none"]) {
    using store = new DriverStore();
    const { layout, own } = makeStore(store, record);
    const archive = store.path("image.tar");
    must("tar", "-C", layout, "-cf", archive, "oci-layout", "index.json", "blobs");
    const packed = ["gzip", "zstd"].map((program) => {
      const file = `${archive}.${program}`;
      must("sh", "-c", `${program} -c "$0" > "$1"`, archive, file);
      return file;
    });
    store.must("image", "import", layout);
    for (const from of [layout, archive, ...packed, "app:latest"]) {
      Deno.writeTextFileSync(join(own, "etc/app"), "");
      Deno.removeSync(join(own, "lib/two"));
      const { restored, left } = store.json<Restored>("repair", "app", "--from", from);
      assertEquals(restored.map(({ path, fault }) => `${path} ${fault}`).sort(), [
        "/etc/app damaged",
        "/lib/two missing",
      ], from);
      assertEquals([left, read(join(own, "etc/app")), read(join(own, "lib/two"))], [
        [],
        "app",
        "2",
      ]);
    }
    assertEquals(store.run("check", "--deep").code, 0);
    assertEquals(names(join(store.root, driver, ".veneer/staging")), []);
    // A committed subvolume can only be deleted as one.
    store.must("image", "rm", "app:latest");
  }
});

needs(lacking, "cli: repair --from refuses an image without the layer, and a damaged one", () => {
  using store = new DriverStore();
  const { layout, own } = makeStore(store, "hash");
  Deno.writeTextFileSync(join(own, "etc/app"), "");
  const other = store.tar("other.tar", { "etc/app": "other" });
  const plain = Deno.readFileSync(other);
  const without = writeFiles(
    store.path("without"),
    oneImage(image([{ plain, file: plain, mediaType: OCI_LAYER }])),
  );
  assertMatch(
    refusal("not found", store.run("repair", "app", "--from", without)),
    /without does not have the layer; name the layer's own tar/,
  );
  refusal("not found", store.run("repair", "app", "--from", "no-such-image"));
  const blobs = join(layout, "blobs/sha256");
  for (const name of names(blobs)) {
    const bytes = Deno.readFileSync(join(blobs, name));
    if (bytes.length < 4096) continue;
    Deno.writeFileSync(join(blobs, name), bytes.fill(0x20, 600, 604));
  }
  assertMatch(
    refusal("invalid argument", store.run("repair", "app", "--from", layout)),
    /it is damaged/,
  );
  assertEquals(read(join(own, "etc/app")), "", "nothing was changed");
  assertEquals(isThere(join(store.root, driver, ".veneer/quarantine")), false);
  // A layer's own tar may have a file that an image has, too.
  const odd = store.path("odd.tar");
  Deno.writeFileSync(odd, tarOf({ "index.json": new Uint8Array(1) }));
  assertMatch(
    refusal("invalid argument", store.run("repair", "app", "--from", odd)),
    /is not what layer app was made from/,
  );
});
