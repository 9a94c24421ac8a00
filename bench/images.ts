/**
 * Whole images: one of 500 MB in 8 layers packed by gzip, imported and exported by the command line, against the
 * programs that users have for that, each with a store on the file system that `VENEER_TEST_DIR` lies on.
 *
 * The daemons of two of them run before: only their clients' commands are measured, with all that the daemons do for
 * these. Nobody syncs.
 *
 * @module
 */
import { join } from "@std/path";
import { Docker } from "../tests/peers/docker.ts";
import { TestContainerd } from "../tests/services/containerd_support.ts";
import { archive } from "./archive.ts";
import { makeBase } from "./corpus.ts";
import { compare, type Contender, peakMemory, report, run } from "./measure.ts";
import { DIRECTORY, QUICK, VENEER } from "./subject.ts";

const NAME = "docker.io/library/bench:1", LAYERS = 8;
const OURS = "veneer";
const TURNS = QUICK ? 3 : 5;
const at = (name: string) => join(DIRECTORY, name);

const base = makeBase(DIRECTORY, "words");
const parts = Array.from({ length: LAYERS }, (_, i) => {
  const path = at(`part${i}.tar.gz`);
  const own = Array.from(Deno.readDirSync(join(base.directory, "usr/lib")), ({ name }) => name)
    .filter((name) => Number(name.slice(1)) % LAYERS === i).map((name) => `usr/lib/${name}`);
  run("bash", "-c", 'tar -C "$0" -c "${@:2}" | gzip >"$1"', base.directory, path, ...own);
  return path;
});
const image = archive(parts, NAME);
Deno.removeSync(base.directory, { recursive: true });
Deno.removeSync(base.tar);
const size = Deno.statSync(image).size;

const layout = at("layout");
run("skopeo", "copy", "--insecure-policy", "-q", `docker-archive:${image}`, `oci:${layout}:bench`);

const veneerArgs = (...args: string[]): [string, ...string[]] => {
  const [program, ...first] = VENEER;
  return [program, ...first, "--root", at("our"), "--driver", "overlay2", "image", ...args];
};
const veneer = (...args: string[]) => run(...veneerArgs(...args));
const storage = `containers-storage:[overlay@${at("storage")}+${at("storage-run")}]${NAME}`;
const skopeo = (from: string, to: string, ...more: string[]) =>
  run("skopeo", "copy", "--insecure-policy", "-q", ...more, from, to);
const remove = (...names: string[]) => names.forEach((name) => run("rm", "-rf", at(name)));

console.log(
  `== whole images, ${base.name} in ${LAYERS} gzip layers (${(size / 1e6).toFixed(0)} MB), on ${
    Deno.env.get("VENEER_TEST_FS")
  }`,
);
await using docker = new Docker(at("docker"), "overlay2");
docker.start();
await using containerd = await TestContainerd.start(at("c"), at("no-service"));

const imports: Contender[] = [
  {
    name: "docker load",
    run: () => void docker.must("load", "--input", image),
    after: () => void docker.must("rmi", "bench:1"),
  },
  {
    name: "ctr images import",
    run: () => void containerd.must("images", "import", "--snapshotter", "overlayfs", image),
    after: () => void containerd.must("images", "rm", "--sync", NAME),
  },
  {
    name: "skopeo copy to containers-storage",
    run: () => skopeo(`docker-archive:${image}`, storage),
    after: () => {
      // It is mounted on itself.
      run("umount", "--recursive", at("storage/overlay"));
      remove("storage", "storage-run");
    },
  },
  {
    name: "umoci unpack",
    run: () => run("umoci", "unpack", "--image", `${layout}:bench`, at("bundle")),
    after: () => remove("bundle"),
  },
  {
    name: OURS,
    run: () => veneer("import", image, "--name", "bench"),
    after: () => remove("our"),
  },
];
const results = await compare(imports, TURNS);
const fastest = results.filter(({ name }) => name !== OURS)
  .reduce((best, one) => one.median < best.median ? one : best);
report("import", results, fastest.name, "half of the fastest other one");

docker.must("load", "--input", image);
skopeo(`docker-archive:${image}`, storage);
veneer("import", image, "--name", "bench");
const out = at("out.tar"), sizes = new Map<string, number>();
const exporter = (name: string, run: () => void): Contender => ({
  name,
  run,
  after: () => {
    sizes.set(name, Deno.statSync(out).size);
    remove("out.tar");
  },
});
const ours = (how: string) =>
  exporter(
    `${OURS}, ${how}`,
    () => veneer("export", "bench", "--compress", how, "--output", out),
  );
/** The client's command, quoted for a shell. */
const save = docker.words("save", "bench:1").map((word) => `'${word}'`).join(" ");
const kinds: readonly [string, string, string, Contender[]][] = [
  ["gzip", "skopeo copy, gzip", "half of docker save, 1.0 of skopeo copy", [
    exporter("docker save | gzip", () => run("bash", "-c", `${save} | gzip >"$0"`, out)),
    exporter("skopeo copy, gzip", () => skopeo(storage, `oci-archive:${out}`)),
    ours("gzip"),
  ]],
  ["zstd", "skopeo copy, zstd", "1.0 of skopeo copy", [
    exporter(
      "skopeo copy, zstd",
      () => skopeo(storage, `oci-archive:${out}`, "--dest-compress-format", "zstd"),
    ),
    ours("zstd"),
  ]],
  ["plain", "docker save", "1.0 of docker save", [
    exporter("docker save", () => docker.must("save", "--output", out, "bench:1")),
    exporter("skopeo copy, plain", () => skopeo(storage, `docker-archive:${out}:${NAME}`)),
    ours("none"),
  ]],
];
for (const [what, reference, aim, contenders] of kinds) {
  report(`export, ${what}`, await compare(contenders, TURNS), reference, aim);
}
console.log("\nsizes of exports");
for (const [name, bytes] of sizes) {
  console.log(`  ${name.padEnd(44)} ${(bytes / 1e6).toFixed(1).padStart(6)} MB`);
}

console.log("\nlargest resident memory   (aim: 200 MiB)");
remove("our");
for (
  const [what, ...args] of [
    ["import", "import", image, "--name", "bench"],
    ...["gzip", "zstd", "none"].map((how) => [
      `export, ${how}`,
      ...["export", "bench", "--compress", how, "--output", out],
    ]),
  ]
) {
  const peak = await peakMemory(...veneerArgs(...args));
  console.log(`  ${what.padEnd(44)} ${peak.toFixed(0).padStart(6)} MiB`);
  run("rm", "-f", out);
}
