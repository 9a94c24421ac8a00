/**
 * The overlay2 driver against its peers and the kernel's floor, on the file system that `VENEER_TEST_DIR` lies
 * on.
 *
 * Whole commands are compared with whole commands, each with its own start: `veneer apply` with `tar -x` and
 * `containers-storage applydiff`, `veneer diff` with `tar -c | cat`. Mounting is compared inside one process
 * with the bare system calls for the same mount.
 *
 * @module
 */
import { join } from "@std/path";
import * as overlay2 from "../drivers/overlay2/driver.ts";
import { openDriver } from "../tests/support/drivers.ts";
import { umount } from "../ffi/mount.ts";
import type { GraphDriver } from "../lib/graph/driver.ts";
import { IDENTITY } from "../lib/base/id_maps.ts";
import { kernelMountPort } from "../lib/mount/port.ts";
import { type Corpus, makeBase, makeDelta, makeMany } from "./corpus.ts";
import { compare, type Contender, peakMemory, report, run } from "./measure.ts";
import { DIRECTORY, QUICK, VENEER } from "./subject.ts";

const fileSystem = Deno.env.get("VENEER_TEST_FS");
const root = join(DIRECTORY, "root");
const scratch = join(DIRECTORY, "scratch");
const HELLO = "a program that greets";

/** A program and its arguments. */
type Command = readonly [program: string, ...args: string[]];

const veneer = (...args: string[]) =>
  run(VENEER[0], ...VENEER.slice(1), "--root", root, "--driver", "overlay2", ...args);

console.log(`== overlay2 on ${fileSystem ?? DIRECTORY}, as ratios of medians (least to most)`);
const corpora = [makeBase(DIRECTORY), makeMany(DIRECTORY), makeDelta(DIRECTORY)];
const warn = (message: string) => console.error(message);
const store = openDriver({ root, driver: "overlay2", options: [], idMaps: IDENTITY, warn });

for (const corpus of corpora) await benchApply(corpus);
for (const corpus of corpora) await benchDiff(corpus);
const words = makeBase(join(DIRECTORY, "packing"), "words");
await benchPackedApply(words);
await benchPackedDiff(words);
await benchMount(store, 2);
await benchMount(store, 40);
const hello = tryMakeHello();
if (hello !== undefined) {
  await benchStart(hello);
  await benchApplyStart(hello, corpora[2]);
}
await benchMemory(corpora);

async function benchApply({ name, tar }: Corpus): Promise<void> {
  const fresh = () => run("mkdir", "-p", scratch);
  const contenders: Contender[] = [
    {
      name: "tar -x",
      before: fresh,
      run: () => run("tar", "-C", scratch, "-xf", tar),
      after: () => run("rm", "-rf", scratch),
    },
    {
      name: "veneer apply",
      before: () => store.create("bench"),
      run: () => veneer("apply", "bench", tar),
      after: () => store.remove("bench"),
    },
    {
      name: "veneer apply -o workers=0",
      before: () => store.create("bench"),
      run: () => veneer("-o", "workers=0", "apply", "bench", tar),
      after: () => store.remove("bench"),
    },
  ];
  // It takes as long as all others together, so a quick run has it with the small corpus alone.
  const isWanted = !QUICK || tar === corpora[2].tar;
  if (isWanted && hasContainersStorage()) contenders.push(containersStorageApply(tar));
  report(
    `apply, ${name}`,
    await compare(contenders, QUICK ? 1 : 5),
    "tar -x",
    "0.65 with a worker, 0.9 without; a third of containers-storage",
  );
}

function hasContainersStorage(): boolean {
  try {
    run("containers-storage", "version");
    return true;
  } catch {
    return false;
  }
}

function containersStorageApply(tar: string): Contender {
  const graph = join(DIRECTORY, "containers-storage");
  const storage = [`--graph=${graph}`, `--run=${graph}-run`, "--storage-driver=overlay"];
  return {
    name: "containers-storage applydiff",
    before: () => run("containers-storage", ...storage, "create-layer", "--id", "bench"),
    run: () => run("containers-storage", ...storage, "applydiff", "--file", tar, "bench"),
    after: () => run("containers-storage", ...storage, "delete-layer", "bench"),
  };
}

async function benchDiff({ name, tar, directory: tree }: Corpus): Promise<void> {
  store.create("bench");
  veneer("apply", "bench", tar);
  const shell = (line: string) => run("bash", "-c", `set -o pipefail; ${line}`);
  const command = [...VENEER, "--root", root, "--driver", "overlay2", "diff", "bench"].join(" ");
  report(
    `diff, ${name}`,
    await compare([
      { name: "tar -c | cat", run: () => shell(`tar -C ${tree} -c . | cat >/dev/null`) },
      { name: "veneer diff | cat", run: () => shell(`${command} | cat >/dev/null`) },
    ], QUICK ? 1 : 7),
    "tar -c | cat",
    "0.75",
  );
  store.remove("bench");
}

/** An apply of a tar that is compressed. */
async function benchPackedApply({ name, tar }: Corpus): Promise<void> {
  const kinds = [
    ["gzip", "pigz", "-xzf", "0.30"],
    ["zstd", "zstd -q -T0", "--zstd -xf", "0.65"],
  ];
  for (const [how, pack, unpack, aim] of kinds) {
    const packed = `${tar}.${how}`;
    run("bash", "-c", `${pack} -c "$0" >"$1"`, tar, packed);
    report(
      `apply, ${name}, ${how}`,
      await compare([
        {
          name: `tar ${unpack}`,
          before: () => run("mkdir", "-p", scratch),
          run: () => run("tar", "-C", scratch, ...unpack.split(" "), packed),
          after: () => run("rm", "-rf", scratch),
        },
        {
          name: "veneer apply",
          before: () => store.create("bench"),
          run: () => veneer("apply", "bench", packed),
          after: () => store.remove("bench"),
        },
      ], QUICK ? 1 : 7),
      `tar ${unpack}`,
      aim,
    );
    run("rm", packed);
  }
}

/** A diff that is compressed, by all processors on both sides. */
async function benchPackedDiff({ name, tar, directory: tree }: Corpus): Promise<void> {
  store.create("bench");
  veneer("apply", "bench", tar);
  const shell = (line: string) => run("bash", "-c", `set -o pipefail; ${line}`);
  const command = [...VENEER, "--root", root, "--driver", "overlay2", "diff", "bench"].join(" ");
  for (const [how, program] of [["gzip", "pigz"], ["zstd", "zstd -q -T0"]]) {
    report(
      `diff, ${name}, ${how}`,
      await compare([
        {
          name: `tar -c | ${program}`,
          run: () => shell(`tar -C ${tree} -c . | ${program} >/dev/null`),
        },
        {
          name: `veneer diff --compress ${how}`,
          run: () => shell(`${command} --compress ${how} >/dev/null`),
        },
      ], QUICK ? 1 : 5),
      `tar -c | ${program}`,
      "1.0",
    );
  }
  store.remove("bench");
}

/** Mounting and unmounting a chain: `get` and `put` against the plan's own system calls and nothing else. */
async function benchMount(store: GraphDriver, depth: number): Promise<void> {
  const ids = Array.from({ length: depth }, (_, i) => `chain${i}`);
  ids.forEach((id, i) => store.create(id, { parent: ids[i - 1] }));
  const top = ids[depth - 1];
  const backend = overlay2.open({ root, options: new Map(), idMaps: IDENTITY, warn });
  const plan = backend.plan(top, {});
  const rounds = QUICK ? 50 : 500;
  const bare = () => {
    for (let i = 0; i < rounds; i++) {
      for (const step of plan.steps) {
        if (step.kind === "mount") kernelMountPort.mount(step);
        if (step.kind === "fsmount") kernelMountPort.fsmount(step);
      }
      umount(plan.path);
    }
  };
  const whole = () => {
    for (let i = 0; i < rounds; i++) {
      store.get(top);
      store.put(top);
    }
  };
  const results = await compare([
    {
      name: "mount and umount",
      before: () => run("mkdir", "-p", plan.path),
      run: bare,
      after: () => run("rmdir", plan.path),
    },
    { name: "get and put", run: whole },
  ], 5);
  report(`${rounds} mounts of ${depth} layers, one process`, results, "mount and umount", "1.3");
  for (const id of ids.toReversed()) store.remove(id);
}

async function benchStart(hello: Command): Promise<void> {
  store.create("one");
  const results = await compare([
    { name: HELLO, run: () => run(...hello) },
    { name: "veneer --version", run: () => veneer("--version") },
    { name: "veneer ls", run: () => veneer("ls") },
  ], QUICK ? 5 : 21);
  report("start", results, HELLO, "1.4");
  store.remove("one");
}

/** An apply so small that most of its time is the program's start. */
async function benchApplyStart(hello: Command, { name, tar }: Corpus): Promise<void> {
  const results = await compare([
    { name: HELLO, run: () => run(...hello) },
    {
      name: "veneer apply",
      before: () => store.create("bench"),
      run: () => veneer("apply", "bench", tar),
      after: () => store.remove("bench"),
    },
  ], QUICK ? 5 : 21);
  report(`apply, ${name}, and its start`, results, HELLO, "1.8");
}

/**
 * A program that does nothing but greet, made as the one that is measured: by `DENO`, as `make build` makes that.
 * Returns its command; `undefined`, with a word of it, if it cannot be compiled.
 */
function tryMakeHello(): Command | undefined {
  const source = join(DIRECTORY, "hello.js");
  Deno.writeTextFileSync(source, 'console.log("hello");\n');
  if (!Deno.env.has("VENEER")) return [Deno.execPath(), "run", source];
  const compiled = join(DIRECTORY, "hello");
  const options = ["--no-check", "--no-config", "--no-code-cache", "--allow-all"];
  const deno = Deno.env.get("DENO") ?? Deno.execPath();
  try {
    run(deno, "compile", "--quiet", ...options, "--output", compiled, source);
  } catch {
    console.log(`\nstart: not measured: ${deno} compiles nothing; set DENO as for make build`);
    return undefined;
  }
  return [compiled];
}

async function benchMemory(corpora: readonly Corpus[]): Promise<void> {
  console.log("\nlargest resident memory   (aim: at most 100 MiB)");
  for (const { name, tar } of corpora) {
    store.create("bench");
    const args = [...VENEER.slice(1), "--root", root, "--driver", "overlay2"];
    const apply = await peakMemory(VENEER[0], ...args, "apply", "bench", tar);
    const diff = await peakMemory(VENEER[0], ...args, "diff", "bench");
    const changes = await peakMemory(VENEER[0], ...args, "changes", "bench");
    const [a, d, c] = [apply, diff, changes].map((peak) => `${peak.toFixed(0)} MiB`);
    console.log(`  ${name.padEnd(44)} apply ${a}, diff ${d}, changes ${c}`);
    store.remove("bench");
  }
}
