/**
 * An image that Veneer imported before its service began: containerd pulls it for Kubernetes
 * without fetching or unpacking a layer, and runs it. After containerd has removed it, its layers
 * are still there for the next pull.
 */
import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import {
  lacksBusybox,
  type LayerTree,
  makeImage,
  telling,
  TestContainerd,
} from "../services/containerd_support.ts";
import { framed, GrpcClient } from "../services/grpc_client.ts";
import { TestService, until } from "../services/service_support.ts";
import { field } from "../services/snapshots_client.ts";
import { must, needs, tempDir } from "../support/cases.ts";
import { veneer } from "../support/commands.ts";
import { CONTAINERDS, lacksEngines } from "./engines.ts";
import { freePort, startRegistry } from "./registry.ts";

const lacking = lacksEngines() ?? lacksBusybox();
const V = ["--snapshotter", "veneer"];

const LAYERS: readonly LayerTree[] = [
  { "etc/motd": "hello\n", "etc/gone": "x" },
  { "etc/.wh.gone": "", "new": "n" },
];

/** Pulls an image as the kubelet has it done (k8s.io/cri-api, `runtime/v1/api.proto`). */
async function pull(address: string, name: string): Promise<void> {
  using client = await GrpcClient.connect(address);
  const body = framed(field(1, field(1, name)));
  const reply = await client.request("/runtime.v1.ImageService/PullImage", body);
  assertEquals([reply.status, reply.message], [0, ""]);
}

for (const [release, engine] of Object.entries(CONTAINERDS)) {
  needs(lacking, `containerd ${release}: no layer of a preloaded image is fetched`, async () => {
    using dir = tempDir("p-");
    const path = (name: string) => join(dir.path, name), root = path("root");
    Deno.mkdirSync(path("image"));
    const port = freePort(), name = `127.0.0.1:${port}/case:1`;
    const command = telling("busybox cat /etc/motd; busybox ls /etc");
    const { archive, chain } = await makeImage(path("image"), { name, command, layers: LAYERS });
    const ours = (...args: string[]) => {
      const { code, stdout, stderr } = veneer("--root", root, "--driver", "overlay2", ...args);
      assertEquals([code, stderr], [0, ""], args.join(" "));
      return stdout.trim();
    };
    const [, id] = ours("image", "import", "--service", "veneer", archive).split(" ");
    ours("image", "export", "--service", "veneer", name, "-o", path("out.tar"));
    /** All layers there are, with a mark. One that containerd unpacks has a name of containerd's. */
    const layers = (mark: "kind" | "created") =>
      ours("snapshot", "ls", "--service", "veneer", "--format", `{name} {${mark}}`)
        .split("\n").filter((line) => line.startsWith("sha256:") || line.includes("/sha256:"));
    const preloaded = layers("created"), offered = layers("kind");
    assertEquals(offered, chain.map((name) => `${name} committed, offered`).sort());
    const adopted = chain.map((name) => `${name} committed`).sort();

    await using service = await TestService.at(root, "overlay2");
    const kubernetes = { ...engine, servesKubernetes: true };
    await using containerd = await TestContainerd.start(path("c"), service.address, kubernetes);
    const registry = await startRegistry(dir.path, port);
    try {
      // What Veneer exported is taken by containerd, and by the registry.
      containerd.must("images", "import", "--no-unpack", path("out.tar"));
      containerd.must("images", "push", "--plain-http", name);
      containerd.must("images", "rm", "--sync", name);
      const inKubernetes = (...args: string[]) => containerd.must("--namespace", "k8s.io", ...args);
      const runs = (container: string) =>
        assertEquals(containerd.toldIn("k8s.io", ...V, name, container), "hello\nmotd\n");
      const removeImage = () =>
        inKubernetes(
          "images",
          "rm",
          "--sync",
          ...inKubernetes("images", "ls", "-q").trim().split("\n"),
        );
      const manifest = JSON.parse(
        must("tar", "-xOf", path("out.tar"), "manifest.json"),
      )[0] as { Config: string; Layers: string[] };
      const digest = (blob: string) => blob.replace("blobs/sha256/", "sha256:");
      assertEquals(digest(manifest.Config), id);
      for (const turn of ["first", "second"]) {
        await pull(containerd.address, name);
        assertEquals(layers("kind"), adopted, turn);
        runs(turn);
        const content = inKubernetes("content", "ls", "-q").split("\n");
        assert(content.includes(id));
        for (const layer of manifest.Layers) assert(!content.includes(digest(layer)), layer);
        removeImage();
        await until(() => layers("kind").join() === offered.join(), "the layers to be given back");
        assertEquals(layers("created"), preloaded, turn);
      }

      // Without Veneer's image, its adopted layers are containerd's.
      await pull(containerd.address, name);
      await service.process.end();
      ours("image", "rm", "--service", "veneer", name);
      await service.restart();
      const list = ["--namespace", "k8s.io", "snapshots", ...V, "ls"];
      await until(() => containerd.ctr(...list).success, "containerd to reach the service again");
      runs("third");
      assertEquals([layers("kind"), layers("created")], [adopted, preloaded]);
      removeImage();
      await until(() => layers("kind").length === 0, "the layers to be removed");
    } finally {
      await registry.end();
    }
    assert(!/status=(INTERNAL|UNKNOWN|DATA_LOSS)/.test(service.process.log), service.process.log);
  });
}
