/**
 * A whole `ctr images import` into the service for containerd against one into containerd's own overlayfs snapshotter, by
 * one containerd, on the file system that `VENEER_TEST_DIR` lies on. What containerd itself does, as to copy and to hash
 * what comes in, is in both.
 *
 * @module
 */
import { join } from "@std/path";
import { TestContainerd } from "../tests/services/containerd_support.ts";
import { Process } from "../tests/services/service_support.ts";
import { archive } from "./archive.ts";
import { makeBase, makeDelta } from "./corpus.ts";
import { compare, report } from "./measure.ts";
import { DIRECTORY, QUICK, VENEER } from "./subject.ts";

const NAME = "docker.io/library/bench:1";
const THEIRS = "containerd's overlayfs", OURS = "veneer serve containerd";

const base = makeBase(DIRECTORY), delta = makeDelta(DIRECTORY);
const image = archive([base.tar, delta.tar], NAME);
for (const { directory } of [base, delta]) Deno.removeSync(directory, { recursive: true });

const address = join(DIRECTORY, "v");
const service = new Process([
  ...VENEER,
  ...["--root", join(DIRECTORY, "our"), "--driver", "overlay2", "--log-level", "warn"],
  ...["serve", "containerd", "--address", address],
]);
console.log(`== ctr images import, overlay2 on ${Deno.env.get("VENEER_TEST_FS")}`);
try {
  await using containerd = await TestContainerd.start(join(DIRECTORY, "c"), address);
  const contenders = [[THEIRS, "overlayfs"], [OURS, "veneer"]].map(([name, snapshotter]) => ({
    name,
    run: () => void containerd.must("images", "import", "--snapshotter", snapshotter, image),
    after: () => void containerd.must("images", "rm", "--sync", NAME),
  }));
  const layers = `layers of ${base.name}, and of ${delta.name}`;
  report(`import, ${layers}`, await compare(contenders, QUICK ? 3 : 7), THEIRS, "1.0");
} finally {
  await service.end("SIGTERM");
}
