/**
 * Runs the benches: each on loopback images of the file systems it is for, in a process of its own. What they measured
 * goes into `results.md`; a quick run, which is for a look while one works, leaves that alone.
 *
 *     bench/main.ts [overlay2|growth|subvolumes|devicemapper|snapshots|services|services_containerd|import|docker|migrate]… [ext4|xfs|btrfs]…      # all, where none is named
 *
 * @module
 */
import $ from "dax";
import { cpus } from "node:os";
import { dirname, join } from "@std/path";
import { type ImageKind, mountImage } from "../tests/runner/images.ts";
import { openWorkspace } from "../tests/runner/workspace.ts";
import { formatResults, merged, parseResults, RESULTS, type Row, type Section } from "./results.ts";

/** Each bench and its file systems. */
const BENCHES: Readonly<Record<string, readonly ImageKind[]>> = {
  overlay2: ["ext4", "xfs"],
  growth: ["ext4"],
  subvolumes: ["btrfs"],
  // In the memory of a guest, where this machine's kernel has no device-mapper.
  devicemapper: ["ext4"],
  snapshots: ["btrfs", "ext4"],
  services: ["ext4"],
  services_containerd: ["ext4"],
  import: ["ext4"],
  images: ["ext4"],
  docker: ["btrfs", "ext4"],
  migrate: ["ext4"],
};

/** The sizes of images in bytes, where the usual one is too small: btrfs frees removed layers late. */
const SIZES: Readonly<Record<string, number>> = {
  docker: 32 * 2 ** 30,
  import: 16 * 2 ** 30,
  images: 16 * 2 ** 30,
};

const chosen = (name: string, among: readonly string[]) =>
  Deno.args.includes(name) || !among.some((other) => Deno.args.includes(other));

/** The machine's load of the last minute: what else runs makes every figure doubtful. */
const load = () => Deno.loadavg()[0].toFixed(2);

const workspace = openWorkspace("veneer-bench.");
const isQuick = Deno.env.has("VENEER_BENCH_QUICK");
try {
  for (const [name, kinds] of Object.entries(BENCHES)) {
    if (!chosen(name, Object.keys(BENCHES))) continue;
    for (const kind of kinds) {
      if (!chosen(kind, Object.values(BENCHES).flat())) continue;
      const section = measured(name, kind);
      if (!isQuick && section.rows.length > 0) await write(section);
    }
  }
} finally {
  workspace[Symbol.dispose]();
}

/** Runs a bench on an image of a file system. */
function measured(name: string, kind: ImageKind): Section {
  using image = mountImage(kind, workspace.directory, SIZES[name]);
  const rows = join(workspace.directory, "rows");
  Deno.writeTextFileSync(rows, "");
  const before = load();
  console.log(`\nload ${before}`);
  new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-all", "--quiet", new URL(`./${name}.ts`, import.meta.url).pathname],
    env: {
      VENEER_TEST_DIR: image.mountPoint,
      VENEER_TEST_FS: kind,
      VENEER_BENCH_ROWS: rows,
    },
    stdout: "inherit",
    stderr: "inherit",
  }).outputSync();
  const facts = [
    `${new Date().toISOString().slice(0, 10)}, Linux ${Deno.osRelease()}`,
    `${cpus().length} of ${cpus()[0].model}`,
    `load ${before} before`,
    `program ${
      Deno.env.get("VENEER")?.replace(`${Deno.cwd()}/`, "") ??
        `main.ts by Deno ${Deno.version.deno}`
    }`,
  ].join("; ");
  return {
    title: `${name} on ${kind}`,
    facts,
    rows: Deno.readTextFileSync(rows).split("\n").filter((line) => line !== "")
      .map((line): Row => JSON.parse(line)),
  };
}

/** Puts a section into the file of results. */
async function write(section: Section): Promise<void> {
  const top = dirname(import.meta.dirname!), path = join(top, RESULTS);
  const earlier = parseResults(await Deno.readTextFile(path).catch(() => ""));
  const text = formatResults(merged(earlier, [section]));
  await Deno.writeTextFile(path, text);
  await $`${Deno.execPath()} fmt --quiet ${path}`.cwd(top);
}
