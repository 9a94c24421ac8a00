/** Whole images on devicemapper: in, changed, made anew, and out as they came. */
// @runs on guest ext4
// @runs long on guest xfs
import { assertEquals } from "@std/assert";
import { join } from "@std/path";
import { gzipSync } from "node:zlib";
import { chainsOf, image, layer, oneImage, writeFiles } from "../../images/builder.ts";
import { imageStore, snapshotNames, withTree } from "../../images/support.ts";
import { needs } from "../../support/cases.ts";
import { dir, file } from "../../tar/support/tar_builder.ts";
import { lacking, SMALL } from "./support.ts";

const gzip = (plain: Uint8Array) => new Uint8Array(gzipSync(plain));
const BASE = layer([dir("etc/"), file("etc/motd", "hello\n"), file("etc/old", "x")], gzip);
const TOP = layer([file("etc/.wh.old", ""), file("twice", "1"), file("twice", "2")], gzip);
const OPTIONS = { format: "hybrid", packing: "gzip", time: 0 } as const;

needs(lacking, "devicemapper: images: imported, changed, made anew and exported", async () => {
  using store = await imageStore("devicemapper", SMALL);
  const { images } = store, built = image([BASE, TOP]);
  images.import(writeFiles(store.path("in"), oneImage(built)));
  withTree(store, chainsOf(built.layers)[1], (root) => {
    assertEquals([...Deno.readDirSync(join(root, "etc"))].map(({ name }) => name), ["motd"]);
    assertEquals(Deno.readTextFileSync(join(root, "twice")), "2");
  });
  const exported = await images.export("app", { ...OPTIONS, output: store.path("out.tar") });
  assertEquals(exported.id, built.id);

  const { path } = images.mount("app", "work", "active");
  Deno.writeTextFileSync(join(path, "new"), "new");
  Deno.linkSync(join(path, "new"), join(path, "linked"));
  Deno.removeSync(join(path, "etc/motd"));
  images.unmount("work");
  const made = images.commit("work", "made:1", { time: 1000 });
  const again = await images.export("made:1", { ...OPTIONS, output: store.path("made.tar") });
  assertEquals(again.id, made.id);
  images.remove("made:1");
  images.remove("app");
  assertEquals(snapshotNames(store), []);
  const [imported] = images.import(store.path("made.tar"));
  assertEquals([imported.id, imported.unpacked], [made.id, 3]);
  withTree(store, images.find("made:1").snapshot!, (root) => {
    assertEquals([...Deno.readDirSync(join(root, "etc"))], []);
    assertEquals(Deno.statSync(join(root, "linked")).nlink, 2);
  });
});
