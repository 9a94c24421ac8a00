/**
 * A service that is killed while containerd imports images: containerd recovers, and both sides
 * have the same snapshots.
 */
import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { IS_LONG, mountPoints, needs } from "../support/cases.ts";
import {
  lacksBusybox,
  lacksContainerd,
  makeImage,
  telling,
  TestContainerd,
} from "./containerd_support.ts";
import { list, readInfos } from "./snapshots_client.ts";
import { Process, TestService, until } from "./service_support.ts";

const lacking = lacksContainerd() ?? lacksBusybox();

const KILLS = IS_LONG ? 200 : 10;

const NAME = "docker.io/library/case:1";

/** A layer of some files. */
const files = (layer: number) =>
  Object.fromEntries(
    Array.from({ length: 100 }, (_, i) => [`layer${layer}/file${i}`, `${layer} ${i}`]),
  );

/** The layers on disk, including those that are being made or deleted. */
function layersOf({ home }: TestService): string[] {
  return ["snapshots", ".veneer/staging"].flatMap((directory) =>
    Array.from(Deno.readDirSync(join(home, directory)), ({ name }) => name)
  );
}

needs(lacking, `service: killed during imports, it loses and leaves nothing`, async () => {
  await using service = await TestService.start("--log-level", "warn");
  const directory = join(service.directory.path, "image");
  Deno.mkdirSync(directory);
  const { archive, chain } = await makeImage(directory, {
    name: NAME,
    command: telling("busybox cat /layer5/file7"),
    layers: [0, 1, 2, 3, 4, 5].map(files),
  });
  await using containerd = await TestContainerd.start(
    join(service.directory.path, "containerd"),
    service.address,
  );
  const importing = ["images", "import", "--snapshotter", "veneer", archive];
  const began = performance.now();
  containerd.must(...importing);
  let time = performance.now() - began;
  const remove = () => containerd.must("images", "rm", "--sync", NAME);
  remove();

  let failed = 0;
  // Some more rounds if none was interrupted: an import may now take a part of the first one's time.
  for (let round = 0; round < KILLS || failed === 0 && round < 5 * KILLS; round++) {
    const coming = new Process(containerd.command(...importing));
    // The kill is at another moment of the import each time, by a sequence that covers all of it.
    await new Promise((resolve) => setTimeout(resolve, time * ((round * 0.618) % 1)));
    await service.process.end("SIGKILL");
    await service.restart("--log-level", "warn");
    if (await coming.ended() !== 0) failed++;
    else if (failed === 0) time *= 0.8;
    // containerd connects again by itself, and imports the image that failed.
    await until(
      () =>
        containerd.ctr("snapshots", "--snapshotter", "veneer", "ls").success &&
        containerd.ctr(...importing).success,
      `containerd to recover in round ${round}`,
    );
    assertEquals(containerd.snapshots(), chain.map((name) => `${name} Committed`).sort());
    const run = ["--snapshotter", "veneer", NAME, `round${round}`];
    if (round % 10 === 0) assertEquals(containerd.told(...run), "5 7");
    remove();
    assertEquals(containerd.snapshots(), []);
    // The garbage collector removes snapshots in the service that containerd does not know.
    await until(() => layersOf(service).length === 0, `layers to be removed in round ${round}`);
  }
  assert(failed > 0, "no import was interrupted");
  if (KILLS > 10) console.log(`${KILLS} kills, ${failed} imports failed and were made again`);
  using client = await service.connect();
  const { messages } = await client.call("List", list());
  assertEquals(messages.flatMap(readInfos), []);
  assertEquals(mountPoints(service.root), []);
});
