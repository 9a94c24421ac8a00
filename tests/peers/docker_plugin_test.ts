/** Debian 12's Docker on the plugin. */
// @runs on ext4, btrfs
import { assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { TestPlugin } from "../services/docker_support.ts";
import { must, needs, tempDir, TEST_FS } from "../support/cases.ts";
import { veneer } from "../support/commands.ts";
import { Docker, lacksDocker, makeSystem } from "./docker.ts";
import { everyday, PluginDocker, restarts } from "./docker_plugin.ts";

const lacking = await lacksDocker();
const driver = TEST_FS === "btrfs" ? "btrfs" : "overlay2";

needs(lacking, `docker plugin: a store of Docker's own ${driver} is migrated to it`, async () => {
  using dir = tempDir("d-");
  await using plugin = await TestPlugin.named(driver);
  const system = join(dir.path, "system"), place = join(dir.path, "docker");
  makeSystem(system, ["sh", "cat"]);
  must("tar", "-C", system, "-cf", `${system}.tar`, ".");
  let images: string, root: string;
  {
    await using docker = new Docker(place, driver);
    docker.start();
    root = docker.root;
    docker.must("import", `${system}.tar`, "base");
    const words = ["--network", "none", "base", "/bin/sh", "-c", "echo own >>/own; cat /own"];
    docker.must("run", "--name", "box", ...words);
    images = docker.must("images", "--no-trunc", "--format", "{{.ID}} {{.Repository}}");
  }
  const to = ["--to", "veneer", "--plugin", plugin.name, "--verify"];
  const { code, stdout, stderr } = veneer("migrate", "--docker", root, ...to);
  assertEquals({ code, stderr }, { code: 0, stderr: "" });
  assertStringIncludes(stdout, "3 layers migrated");
  {
    const settings = { storageDriver: plugin.name, args: ["--experimental"] };
    await using docker = new Docker(place, driver, [], settings);
    docker.start();
    assertEquals(docker.must("info", "--format", "{{.Driver}}"), plugin.name);
    assertEquals(
      docker.must("images", "--no-trunc", "--format", "{{.ID}} {{.Repository}}"),
      images,
    );
    assertEquals(docker.must("start", "--attach", "box"), "own\nown");
    docker.must("rm", "box");
    docker.must("rmi", "base");
  }
  assertEquals(veneer("--root", join(root, plugin.name), "ls", "--quiet").stdout, "");
});

needs(lacking, `docker plugin: Docker 20.10 lives on ${driver}`, async () => {
  await using both = await PluginDocker.start(driver);
  everyday(both, { hasSizes: driver === "btrfs" });
  await restarts(both);
  both.assertEmpty();
});
