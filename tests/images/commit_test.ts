/**
 * Making images of snapshots.
 */
// @runs on ext4, btrfs
// @runs long on xfs
import { assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path";
import { lacksFileSystem, needs, TEST_FS } from "../support/cases.ts";
import { dir, file } from "../tar/support/tar_builder.ts";
import { chainsOf, image, layer, oneImage, sha256, writeFiles } from "./builder.ts";
import { imageStore, refused, snapshotNames } from "./support.ts";

const lacking = TEST_FS.startsWith("btrfs") ? undefined : lacksFileSystem("overlay");
const BASE = layer([dir("etc/"), file("etc/motd", "hello\n"), file("etc/old", "x")]);

needs(
  lacking,
  "images: of a changed snapshot an image is made, which is exported as it is",
  async () => {
    using store = await imageStore();
    const { images } = store,
      built = image([BASE], {
        config: { Cmd: ["/bin/sh"], Env: ["A=1", "B=2"], Labels: { kept: "yes" } },
        history: [{ created_by: "ADD" }],
        custom: 7,
      });
    images.import(writeFiles(store.path("in"), oneImage(built)));
    const { path } = images.mount("app", "work", "active");
    Deno.writeTextFileSync(join(path, "etc/new"), "n".repeat(5000));
    Deno.removeSync(join(path, "etc/old"));
    assertMatch(
      refused(() => images.commit("work", "made:1", { time: 0 }), "in use"),
      /work/,
    );
    images.unmount("work");
    const changes = ['CMD ["run", "it"]', "ENV A=3", "label who=me", "EXPOSE 80/tcp", "USER 5"];
    const made = images.commit("work", "made:1", {
      time: 1000,
      message: "why",
      author: "me",
      changes,
    });
    assertEquals(made.names, ["made:1"]);
    const found = images.find("made:1"),
      config = JSON.parse(new TextDecoder().decode(found.config));
    assertEquals([found.id, sha256(found.config)], [made.id, made.id]);
    assertEquals(config.config, {
      Cmd: ["run", "it"],
      Env: ["B=2", "A=3"],
      Labels: { kept: "yes", who: "me" },
      ExposedPorts: { "80/tcp": {} },
      User: "5",
    });
    assertEquals([config.custom, config.author, config.created], [
      7,
      "me",
      "1970-01-01T00:00:01.000Z",
    ]);
    assertEquals(config.history, [{ created_by: "ADD" }, {
      created: "1970-01-01T00:00:01.000Z",
      created_by: "commit of a snapshot",
      author: "me",
      comment: "why",
    }]);
    assertEquals(config.rootfs.diff_ids[0], sha256(BASE.plain));
    assertEquals(snapshotNames(store), [chainsOf([BASE])[0], found.snapshot!].sort());

    const output = store.path("made.tar");
    await images.export("made:1", { format: "hybrid", packing: "gzip", time: 0, output });
    using other = await imageStore();
    assertEquals(other.images.import(output).map(({ id, layers }) => [id, layers]), [[made.id, 2]]);
    const shown = other.images.mount("made:1", "look", "view").path;
    assertEquals(
      [...Deno.readDirSync(join(shown, "etc"))].map(({ name }) => name).sort(),
      ["motd", "new"],
    );
    other.images.unmount("look");
  },
);

needs(lacking, "images: what cannot be made an image stays as it is", async () => {
  using store = await imageStore();
  const { images } = store, { snapshots } = images, time = 0;
  images.import(writeFiles(store.path("in"), oneImage(image([BASE]))));
  snapshots.prepare("other", "");
  snapshots.commit("plain", "other");
  snapshots.prepare("work", "plain");
  images.mount("app", "look", "view");
  images.unmount("look");
  const before = snapshotNames(store);
  const message = (key: string, changes: string[] = []) =>
    refused(() => images.commit(key, undefined, { time, changes }), "failed precondition");
  assertMatch(message("work"), /^snapshot "plain" is not a layer of an image/);
  assertMatch(message("look"), /^snapshot "look" is not active/);
  snapshots.prepare("own", "");
  assertMatch(
    refused(() => images.commit("own", undefined, { time, changes: ["RUN ls"] })),
    /^change "RUN ls": begin it with one of CMD, /,
  );
  assertEquals(snapshotNames(store), [...before, "own"].sort());
  assertEquals(images.commit("own", undefined, { time }).names, []);
});
