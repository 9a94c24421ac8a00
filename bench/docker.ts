/**
 * Docker on the plugin against Docker's own driver of the same name, each with a data root on the file system that
 * `VENEER_TEST_DIR` lies on. What the daemon itself does, as to hash what it loads, is in both.
 *
 * @module
 */
import { join } from "@std/path";
import { Docker, type Driver, makeSystem } from "../tests/peers/docker.ts";
import { PluginDocker } from "../tests/peers/docker_plugin.ts";
import { makeBase, makeMany } from "./corpus.ts";
import { compare, report, run } from "./measure.ts";
import { DIRECTORY, QUICK } from "./subject.ts";

const DRIVER: Driver = Deno.env.get("VENEER_TEST_FS") === "btrfs" ? "btrfs" : "overlay2";
const THEIRS = `docker's own ${DRIVER}`;
const OURS = `veneer serve docker, ${DRIVER}`;

/** Files of a container that is committed, and of its image. */
const CHANGED = 200;
const CONTAINERS = 20;
const TURNS = QUICK ? 3 : 5;

await using own = new Docker(join(DIRECTORY, "own"), DRIVER);
own.start();
await using plugin = await PluginDocker.start(DRIVER);
const sides = [{ name: THEIRS, docker: own }, { name: OURS, docker: plugin.docker }];

/** Lets both do something in turns. */
async function measure(
  what: string,
  aim: string | undefined,
  one: (docker: Docker) => void,
  { before, after }: Partial<Record<"before" | "after", (docker: Docker) => void>> = {},
): Promise<void> {
  const contenders = sides.map(({ name, docker }) => ({
    name,
    before: () => before?.(docker),
    run: () => one(docker),
    after: () => after?.(docker),
  }));
  report(what, await compare(contenders, TURNS), THEIRS, aim);
}

console.log(`== docker 20.10, ${DRIVER} on ${Deno.env.get("VENEER_TEST_FS")}`);

const NO_NETWORK = ["--network", "none"];
const base = makeBase(DIRECTORY), many = makeMany(DIRECTORY);
for (const { directory, tar } of [base, many]) {
  makeSystem(directory, ["true", "sh", "sleep"]);
  run("tar", "-C", directory, "-cf", tar, ".");
}

const image = join(DIRECTORY, "image.tar");
own.must("import", base.tar, "base");
own.must("save", "--output", image, "base");
own.must("rmi", "base");
await measure(
  `docker load, ${base.name}`,
  DRIVER === "btrfs" ? "0.8" : "1.0",
  (docker) => void docker.must("load", "--input", image),
  { after: (docker) => void docker.must("rmi", "base") },
);
for (const { docker } of sides) docker.must("load", "--input", image);
await measure(`${CONTAINERS} times docker run of true`, "1.05", (docker) => {
  for (let i = 0; i < CONTAINERS; i++) docker.must("run", "--rm", ...NO_NETWORK, "base", "true");
});
for (const { docker } of sides) docker.must("rmi", "base");
await measure(
  `docker import, ${many.name}`,
  undefined,
  (docker) => void docker.must("import", many.tar, "many"),
  { after: (docker) => void docker.must("rmi", "many") },
);

for (const { docker } of sides) {
  docker.must("import", many.tar, "many");
  docker.must("run", "--detach", "--name", "box", ...NO_NETWORK, "many", "sleep", "100000");
  const write = `i=0; while [ $i -lt ${CHANGED} ]; do echo >>/d$((i%100))/new$i; i=$((i+1)); done`;
  docker.must("exec", "box", "sh", "-c", write);
}
const changes = `${CHANGED} changed files, base of ${many.name}`;
const aim = DRIVER === "btrfs" ? "0.1" : undefined;
await measure(`docker diff, ${changes}`, aim, (docker) => void docker.must("diff", "box"));
await measure(`docker commit, ${changes}`, aim, (docker) => {
  docker.must("commit", "box", "kept");
}, { after: (docker) => void docker.must("rmi", "kept") });
for (const { docker } of sides) docker.must("rm", "--force", "box");
