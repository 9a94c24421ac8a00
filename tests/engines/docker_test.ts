/**
 * Docker 28 with its containerd image store on the service: what people do with Docker, and restarts in between.
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { lacksBusybox, makeImage, TestContainerd } from "../services/containerd_support.ts";
import { TestService, until } from "../services/service_support.ts";
import { mountPoints, must, needs } from "../support/cases.ts";
import { ContainerdDocker } from "./docker.ts";
import { CONTAINERDS, lacksEngines } from "./engines.ts";

const lacking = lacksEngines() ?? lacksBusybox();
const NAME = "case:1";

/** Layers that add, change and delete. */
const LAYERS = [
  { "etc/motd": "hello\n", "etc/gone": "x", "opt/a": "1", "opt/b": "2" },
  { "etc/motd": "changed\n", "etc/.wh.gone": "", "opt/.wh..wh..opq": "", "opt/c": "3" },
] as const;

const DOCKERFILE = `FROM ${NAME} AS first
RUN busybox mkdir -p /a/b && echo one >/a/b/one && busybox chmod 700 /a/b
FROM ${NAME}
COPY --from=first --chown=7:8 /a /copied
RUN busybox rm -r /opt && echo two >/etc/two
CMD ["/bin/busybox", "cat", "/copied/b/one", "/etc/two"]
`;

needs(lacking, "docker 28: images and containers live on Veneer", async () => {
  await using service = await TestService.start();
  const path = (name: string) => join(service.directory.path, name);
  Deno.mkdirSync(path("image"));
  const { archive } = await makeImage(path("image"), {
    name: NAME,
    command: ["/bin/busybox", "cat", "/etc/motd"],
    layers: [...LAYERS],
  });
  await using containerd = await TestContainerd.start(
    path("c"),
    service.address,
    CONTAINERDS["2.1"],
  );
  const start = () => ContainerdDocker.start(path("d"), "sid", containerd.address);
  {
    await using docker = await start();
    assertStringIncludes(
      docker.must("info", "--format", "{{.Driver}} {{.DriverStatus}}"),
      "veneer",
    );
    docker.must("load", "-i", archive);
    assertEquals(docker.must("run", "--rm", "--network", "none", NAME), "changed");

    Deno.mkdirSync(path("context"));
    Deno.writeTextFileSync(path("context/Dockerfile"), DOCKERFILE);
    docker.must("buildx", "build", "--network", "none", "-t", "built:1", path("context"));
    assertEquals(docker.must("run", "--rm", "--network", "none", "built:1"), "one\ntwo");
    const owner = ["/bin/busybox", "stat", "-c", "%u:%g %a", "/copied/b"];
    assertEquals(docker.must("run", "--rm", "--network", "none", "built:1", ...owner), "7:8 700");

    docker.must(
      "run",
      "-d",
      "--name",
      "stays",
      "--network",
      "none",
      "built:1",
      "/bin/sh",
      "-c",
      "echo new >/etc/new; busybox rm /etc/two; while :; do busybox sleep 1; done",
    );
    await docker.until(
      "the container to write",
      "exec",
      "stays",
      "/bin/sh",
      "-c",
      "[ ! -e /etc/two ]",
    );
    Deno.writeTextFileSync(path("in.txt"), "copied in\n");
    docker.must("cp", path("in.txt"), "stays:/etc/in.txt");
    docker.must("cp", "stays:/etc/new", path("out.txt"));
    assertEquals(Deno.readTextFileSync(path("out.txt")), "new\n");
    const changes = docker.must("diff", "stays").split("\n");
    for (const line of ["A /etc/new", "D /etc/two", "A /etc/in.txt"]) {
      assert(changes.includes(line), line);
    }
    docker.must("commit", "stays", "committed:1");
    const cat = ["/bin/busybox", "cat", "/etc/new", "/etc/in.txt"];
    assertEquals(
      docker.must("run", "--rm", "--network", "none", "committed:1", ...cat),
      "new\ncopied in",
    );

    const id = docker.must("inspect", "--format", "{{.Id}}", "committed:1");
    docker.must("save", "-o", path("saved.tar"), "committed:1");
    assertStringIncludes(must("tar", "-tf", path("saved.tar")), "manifest.json");
    docker.must("rmi", "committed:1");
    docker.must("load", "-i", path("saved.tar"));
    assertEquals(docker.must("inspect", "--format", "{{.Id}}", "committed:1"), id);
    docker.must("kill", "stays");
  }
  // Docker, and then the service, are killed and come again.
  await service.process.end("SIGKILL");
  await service.restart();
  await using docker = await start();
  await docker.until("containerd to connect again", "run", "--rm", "--network", "none", "built:1");
  docker.must("start", "stays");
  assertEquals(docker.must("exec", "stays", "/bin/busybox", "cat", "/etc/in.txt"), "copied in");
  docker.must("rm", "-f", "stays");
  docker.must("rmi", "-f", NAME, "built:1", "committed:1");
  docker.must("buildx", "prune", "-af");
  await until(
    () => containerd.snapshotsOf("moby").length === 0,
    "containerd to forget all snapshots",
  );
  await until(
    () => [...Deno.readDirSync(join(service.home, "snapshots"))].length === 0,
    "the collector to remove every layer",
  );
  assertEquals(mountPoints(service.root), []);
  assert(!/status=(INTERNAL|UNKNOWN|DATA_LOSS)/.test(service.process.log), service.process.log);
});
