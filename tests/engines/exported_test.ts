/**
 * Images that go out to containerd and come back: it runs what Veneer exports in each compression,
 * and Veneer imports what it exports, with the id that the image had first.
 */
import { assertEquals } from "@std/assert";
import {
  lacksBusybox,
  makeImage,
  telling,
  TestContainerd,
} from "../services/containerd_support.ts";
import { needs } from "../support/cases.ts";
import { TestStore } from "../support/commands.ts";
import { CONTAINERDS, lacksEngines } from "./engines.ts";

const lacking = lacksEngines() ?? lacksBusybox();
const NAME = "docker.io/library/case:1";
const OVERLAY = ["--snapshotter", "overlayfs"];

/** Compressions of layers, and forms of archives. */
const WAYS = [["gzip", "hybrid"], ["zstd", "hybrid"], ["none", "docker"]] as const;

for (const [release, engine] of Object.entries(CONTAINERDS)) {
  needs(lacking, `containerd ${release}: an exported image runs, and comes back`, async () => {
    using store = new TestStore();
    using back = new TestStore();
    const command = telling("busybox cat /etc/motd; busybox ls /etc");
    Deno.mkdirSync(store.path("image"));
    const { archive } = await makeImage(store.path("image"), {
      name: NAME,
      command,
      layers: [{ "etc/motd": "hello\n", "etc/gone": "x" }, { "etc/.wh.gone": "", "new": "n" }],
    });
    const [name, id] = store.must("image", "import", archive).trim().split(" ");
    const directory = store.path("c");
    await using containerd = await TestContainerd.start(directory, store.path("none"), engine);
    for (const [packing, format] of WAYS) {
      const way = ["--compress", packing, "--format", format], out = store.path(`${packing}.tar`);
      store.must("image", "export", name, ...way, "--output", out);
      containerd.must("images", "import", ...OVERLAY, out);
      assertEquals(containerd.told(...OVERLAY, NAME, packing), "hello\nmotd\n");
      containerd.export(NAME, `${out}.2`);
      containerd.must("images", "rm", "--sync", NAME);
      assertEquals(back.must("image", "import", `${out}.2`), `${name} ${id}\n`, packing);
      back.must("image", "rm", name);
    }
  });
}
