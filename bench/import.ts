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
import { type Corpus, makeBase, makeDelta } from "./corpus.ts";
import { compare, report, run } from "./measure.ts";
import { DIRECTORY, QUICK, VENEER } from "./subject.ts";

const NAME = "docker.io/library/bench:1";
const THEIRS = "containerd's overlayfs", OURS = "veneer serve containerd";

/** Makes a Docker archive of an image with these layers; returns its path. */
function archive(layers: readonly Corpus[]): string {
  const directory = join(DIRECTORY, "image"),
    write = (name: string, value: unknown) =>
      Deno.writeTextFileSync(join(directory, name), JSON.stringify(value));
  Deno.mkdirSync(directory);
  const files = layers.map(({ tar }, i) => {
    Deno.renameSync(tar, join(directory, `${i}.tar`));
    return `${i}.tar`;
  });
  const diffIds = files.map((file) => {
    const { stdout } = new Deno.Command("sha256sum", { args: [join(directory, file)] })
      .outputSync();
    return `sha256:${new TextDecoder().decode(stdout).split(" ")[0]}`;
  });
  const architecture = Deno.build.arch === "x86_64" ? "amd64" : "arm64";
  const rootfs = { type: "layers", diff_ids: diffIds };
  write("config.json", { architecture, os: "linux", config: {}, rootfs });
  write("manifest.json", [{ Config: "config.json", RepoTags: [NAME], Layers: files }]);
  const path = join(DIRECTORY, "image.tar");
  run("tar", "-C", directory, "-cf", path, "manifest.json", "config.json", ...files);
  return path;
}

const base = makeBase(DIRECTORY), delta = makeDelta(DIRECTORY);
const image = archive([base, delta]);
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
