/**
 * The service with each release of containerd: images come in from archives and from a registry, containers run, are
 * committed and exported, and all of it is there again after a restart of either side.
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import {
  type Engine,
  lacksBusybox,
  makeImage,
  telling,
  TestContainerd,
} from "../services/containerd_support.ts";
import { TestService, until } from "../services/service_support.ts";
import { mountPoints, must, needs } from "../support/cases.ts";
import { CONTAINERDS, lacksEngines } from "./engines.ts";
import { freePort, startRegistry } from "./registry.ts";

const lacking = lacksEngines() ?? lacksBusybox();
const NAME = "localhost/case:1";
const V = ["--snapshotter", "veneer"];

/** Layers that add, change, and delete by both kinds of whiteouts. */
const LAYERS = [
  { "etc/motd": "hello\n", "etc/gone": "x", "opt/a": "1", "opt/b": "2" },
  { "etc/motd": "changed\n", "etc/.wh.gone": "", "opt/.wh..wh..opq": "", "opt/c": "3" },
  { "srv/link": { link: "../etc/motd" } },
] as const;

const command = telling("busybox cat /srv/link; busybox ls -A /opt");

/**
 * Containers of two maps run on one image, each as if it had the image's owners: without a copy if
 * containerd can map ids as it mounts, and else, with the same labels, in a copy for each map.
 */
function remaps(release: string, engine: Engine): void {
  needs(lacking, `containerd ${release}: one image serves containers of any id map`, async () => {
    const canMap = engine.release === "2.x";
    const options = canMap ? ["-o", "snapshot.remap=true"] : [];
    await using service = await TestService.start(...options);
    const path = (name: string) => join(service.directory.path, name);
    Deno.mkdirSync(path("image"));
    const { archive, chain } = await makeImage(path("image"), {
      name: NAME,
      command,
      layers: [...LAYERS],
    });
    await using containerd = await TestContainerd.start(
      path("c"),
      service.address,
      engine,
      ...options,
    );
    // A container's root is not this machine's, and passes through these directories.
    for (const way of [service.directory.path, path("c")]) Deno.chmodSync(way, 0o711);
    containerd.must("images", "import", ...V, archive);
    for (const host of [100_000, 3_000_000]) {
      const maps = ["--uidmap", `0:${host}:1000`, "--gidmap", `0:${host + 5}:1000`];
      const script =
        "busybox stat -c '%u:%g' / /etc /etc/motd; echo 1 >/new; busybox stat -c '%u:%g' /new";
      const words = [...V, "--remap-labels", ...maps, NAME, `c${host}`, ...telling(script)];
      assertEquals(containerd.told(...words), "0:0\n".repeat(4));
      // A copy is collected at any time after its container.
      if (canMap) assertEquals(containerd.snapshots().length, chain.length);
    }
    assert(!/status=(INTERNAL|UNKNOWN|DATA_LOSS)/.test(service.process.log), service.process.log);
  });
}

/** The layers on disk. */
const layersOf = (service: TestService): string[] =>
  Array.from(Deno.readDirSync(join(service.home, "snapshots")), ({ name }) => name);

for (const [release, engine] of Object.entries(CONTAINERDS)) {
  needs(lacking, `containerd ${release}: an image's whole life on Veneer`, async () => {
    await using service = await TestService.start();
    const path = (name: string) => join(service.directory.path, name);
    Deno.mkdirSync(path("image"));
    const { archive, chain } = await makeImage(path("image"), {
      name: NAME,
      command,
      layers: [...LAYERS],
    });
    {
      await using containerd = await TestContainerd.start(path("c"), service.address, engine);
      assertMatch(containerd.must("version"), new RegExp(`Version: +v?${release}\\.`));
      containerd.must("images", "import", ...V, archive);
      assertEquals(containerd.snapshots(), chain.map((name) => `${name} Committed`).sort());
      assertEquals(containerd.told(...V, NAME, "one"), "changed\nc\n");

      const shell = (id: string, text: string) => containerd.told(...V, NAME, id, ...telling(text));
      assertEquals(
        shell("two", "busybox rm /etc/motd; busybox ls -A /etc /opt"),
        "/etc:\n\n/opt:\nc\n",
      );

      // A container that stays, is entered, and whose file system becomes a snapshot that another stands on.
      containerd.must(
        "run",
        "-d",
        ...V,
        NAME,
        "stays",
        "/bin/sh",
        "-c",
        "while :; do busybox sleep 1; done",
      );
      containerd.must(
        "tasks",
        "exec",
        "--exec-id",
        "e1",
        "stays",
        "/bin/sh",
        "-c",
        "echo written >/etc/new; busybox rm -r /opt",
      );
      assertEquals(
        containerd.must(
          "tasks",
          "exec",
          "--exec-id",
          "e2",
          "stays",
          "/bin/busybox",
          "cat",
          "/etc/new",
        ),
        "written\n",
      );
      const usage = containerd.must("snapshots", ...V, "usage", "stays");
      assertStringIncludes(usage, "stays");
      const diff = containerd.must("snapshots", ...V, "diff", "stays");
      assert(diff.length > 100, "the change has content");
      containerd.must("tasks", "kill", "--signal", "SIGKILL", "stays");
      await until(() =>
        !containerd.must("tasks", "ls", "-q").includes("stays") ||
        containerd.ctr("tasks", "rm", "stays").success, "the task to end");
      // The collector may take it at once, since nothing refers to it.
      containerd.must("snapshots", ...V, "commit", "image-of-stays", "stays");
      containerd.export(NAME, path("out.tar"));
      assertStringIncludes(must("tar", "-tf", path("out.tar")), "manifest.json");
    }
    // The service ends and comes again, and so does containerd.
    await service.process.end("SIGKILL");
    await service.restart();
    await using containerd = await TestContainerd.start(path("c"), service.address, engine);
    assertEquals(containerd.told(...V, NAME, "after"), "changed\nc\n");
    containerd.must("containers", "rm", "stays");
    containerd.must("images", "rm", "--sync", NAME);
    containerd.ctr("snapshots", ...V, "rm", "image-of-stays");
    await until(() => containerd.snapshots().length === 0, "containerd to forget the snapshots");
    await until(() => layersOf(service).length === 0, "the collector to remove every layer");
    assertEquals(mountPoints(service.root), []);
    assert(!/status=(INTERNAL|UNKNOWN|DATA_LOSS)/.test(service.process.log), service.process.log);
  });

  if (engine.release !== "1.6") remaps(release, engine);

  needs(lacking, `containerd ${release}: an image is pulled from a registry`, async () => {
    await using service = await TestService.start();
    const path = (name: string) => join(service.directory.path, name);
    Deno.mkdirSync(path("image"));
    const port = freePort();
    const name = `127.0.0.1:${port}/case:1`;
    const { archive } = await makeImage(path("image"), { name, command, layers: [...LAYERS] });
    await using containerd = await TestContainerd.start(path("c"), service.address, engine);
    const registry = await startRegistry(service.directory.path, port);
    try {
      containerd.must("images", "import", "--no-unpack", archive);
      containerd.must("images", "push", "--plain-http", name);
      containerd.must("images", "rm", "--sync", name);
      containerd.must("images", "pull", "--plain-http", ...V, name);
      assertEquals(containerd.told(...V, name, "pulled"), "changed\nc\n");
      containerd.must("images", "rm", "--sync", name);
      await until(() => layersOf(service).length === 0, "the collector to remove every layer");
      assertEquals(mountPoints(service.root), []);
    } finally {
      await registry.end();
    }
  });
}
