/** The service with a real containerd: imports an image, runs a container, and removes both. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path";
import { mountPoints, needs } from "../support/cases.ts";
import {
  lacksBusybox,
  lacksContainerd,
  makeImage,
  telling,
  TestContainerd,
} from "./containerd_support.ts";
import { TestService, until } from "./service_support.ts";

const lacking = lacksContainerd() ?? lacksBusybox();

const NAME = "docker.io/library/case:1";

/** Layers that add, change, and delete by both kinds of whiteouts. */
const LAYERS = [
  { "etc/motd": "hello\n", "etc/gone": "x", "opt/a": "1", "opt/b": "2" },
  { "etc/motd": "changed\n", "etc/.wh.gone": "", "opt/.wh..wh..opq": "", "opt/c": "3" },
  { "srv/link": { link: "../etc/motd" } },
] as const;

async function imageFor(service: TestService, command: string) {
  const directory = join(service.directory.path, "image");
  Deno.mkdirSync(directory);
  const layers = [...LAYERS];
  return await makeImage(directory, { name: NAME, command: telling(command), layers });
}

needs(lacking, "service: containerd imports an image, runs it and removes it", async () => {
  await using service = await TestService.start();
  const { archive, chain } = await imageFor(
    service,
    "busybox cat /srv/link; busybox ls -A /etc /opt; echo new >/etc/new; busybox rm /etc/motd",
  );
  await using containerd = await TestContainerd.start(
    join(service.directory.path, "containerd"),
    service.address,
  );
  containerd.must("images", "import", "--snapshotter", "veneer", archive);
  assertEquals(containerd.snapshots(), chain.map((name) => `${name} Committed`).sort());

  assertEquals(layersOf(service).length, chain.length);

  const snapshotter = ["--snapshotter", "veneer"];
  // runc may add its own files to /etc.
  const output = containerd.told(...snapshotter, NAME, "first");
  assertEquals(output, "changed\n/etc:\nmotd\n\n/opt:\nc\n");
  assertEquals(containerd.told(...snapshotter, NAME, "second"), output, "the image is unchanged");

  containerd.must("run", ...snapshotter, NAME, "third");
  assertEquals(containerd.snapshots().length, chain.length + 1);
  const info = containerd.must("snapshots", "--snapshotter", "veneer", "info", "third");
  assertEquals(JSON.parse(info).Parent, chain.at(-1));
  assert(Math.abs(Date.parse(JSON.parse(info).Created) - Date.now()) < 600_000, info);

  containerd.must("containers", "rm", "third");
  containerd.must("images", "rm", "--sync", NAME);
  assertEquals(containerd.snapshots(), []);
  // The garbage collector removes the snapshots in the service as well.
  await until(() => layersOf(service).length === 0, "the collector to remove every layer");
  assertEquals(mountPoints(service.root), []);
  assert(!/status=(INTERNAL|UNKNOWN|DATA_LOSS)/.test(service.process.log), service.process.log);
});

needs(
  lacking,
  "service: containerd finds its snapshots again after both have been restarted",
  async () => {
    await using service = await TestService.start();
    const { archive, chain } = await imageFor(service, "busybox cat /etc/motd");
    const directory = (name: string) => join(service.directory.path, name);
    {
      await using containerd = await TestContainerd.start(directory("containerd"), service.address);
      containerd.must("images", "import", "--snapshotter", "veneer", archive);
      assertEquals(await service.process.end("SIGTERM"), 0);
      const { success, stderr } = containerd.ctr("run", "--snapshotter", "veneer", NAME, "lost");
      assert(!success, "without the service nothing runs");
      assertMatch(stderr, /unavailable|connect|no such file/);
      const runsAgain = async (container: string, connection: string) => {
        await service.restart();
        // containerd connects again by itself, after a pause of up to three seconds.
        await until(
          () => containerd.ctr("snapshots", "--snapshotter", "veneer", "info", chain[0]).success,
          connection,
        );
        assertEquals(
          containerd.told("--snapshotter", "veneer", NAME, container),
          "changed\n",
        );
      };
      await runsAgain("found", "containerd to connect again");
      await service.process.end("SIGKILL");
      await runsAgain("again", "containerd to connect after a kill");
    }
  },
);

/** The layers on disk. */
function layersOf(service: TestService): string[] {
  return Array.from(Deno.readDirSync(join(service.home, "snapshots")), ({ name }) => name);
}
