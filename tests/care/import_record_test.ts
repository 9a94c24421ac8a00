/** The records of content that `image import` makes, for `check --deep`. */
// @runs on ext4, btrfs
import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { parseContent } from "../../lib/care/content_record.ts";
import { DAMAGE_FOUND } from "../../lib/cli/exit_status.ts";
import { image, layer, oneImage, sha256, writeFiles } from "../images/builder.ts";
import { lacksFileSystem, must, needs, TEST_FS } from "../support/cases.ts";
import { TestStore } from "../support/commands.ts";
import { names } from "../support/files.ts";

const driver = TEST_FS === "btrfs" ? "btrfs" : "overlay2";

class DriverStore extends TestStore {
  override readonly options = ["--root", this.root, "--driver", driver];
}

const bytes = (text: string) => new TextEncoder().encode(text);

/** Two layers, one of which replaces a file of the other. */
const LAYERS = [
  layer([{ name: "etc/", type: "5" }, { name: "etc/file", data: bytes("content") }]),
  layer([{ name: "etc/file", data: bytes("another") }, { name: "more", data: bytes("more") }]),
];

needs(
  driver === "btrfs" ? undefined : lacksFileSystem("overlay"),
  "image import: record: a deep check compares imported layers",
  () => {
    for (const record of ["none", undefined, "sizes", "hash"]) {
      using store = new DriverStore();
      const home = join(store.root, "snapshots", driver), records = join(home, ".veneer/content");
      store.must(
        ...record === undefined ? [] : ["-o", `record=${record}`],
        ...["image", "import"],
        writeFiles(store.path("layout"), oneImage(image(LAYERS))),
      );
      const isRecorded = record !== "none";
      const { stores: [{ untold }] } = store.json<{ stores: { untold: number }[] }>(
        "check",
        "--deep",
      );
      assertEquals(untold, isRecorded ? 0 : 2, record);
      if (!isRecorded) {
        store.must("image", "rm", "app:latest");
        continue;
      }
      const diffIds = names(records).map((id) => {
        const content = parseContent(Deno.readFileSync(join(records, id)));
        assert(typeof content !== "string");
        assertEquals(content.hash !== undefined, record === "hash");
        return content.diffId;
      });
      assertEquals(diffIds.sort(), LAYERS.map(({ plain }) => sha256(plain)).sort());
      const snapshots = store.json<{ layer: string; parent: string }[]>("snapshot", "ls");
      const { layer: id } = snapshots.find(({ parent }) => parent !== "")!;
      // On btrfs its name also has the directory.
      const root = join(home, driver === "btrfs" ? id.replace(".", "/") : `snapshots/${id}/fs`);
      const seal = (isSealed: boolean) =>
        driver === "btrfs" && must("btrfs", "property", "set", root, "ro", `${isSealed}`);
      seal(false);
      Deno.writeTextFileSync(join(root, "more"), "");
      seal(true);
      const { code, stdout } = store.run("--json", "check", "--deep");
      assertEquals(code, DAMAGE_FOUND, stdout);
      assertEquals(JSON.parse(stdout).findings.map(({ kind }: { kind: string }) => kind), [
        "content-emptied",
      ]);
      store.must("image", "rm", "app:latest");
      store.must("snapshot", "cleanup");
      assertEquals(names(records), [], "records go with their layers");
    }
  },
);
