/**
 * `veneer migrate` of one base layer against `tar -c | tar -x` of its directory, on the file system that
 * `VENEER_TEST_DIR` lies on. A migration ends with all of it on disk, so tar is measured with that, too.
 *
 * @module
 */
import { join } from "@std/path";
import { openDriver } from "../tests/support/drivers.ts";
import { makeBase } from "./corpus.ts";
import { compare, type Contender, report, run } from "./measure.ts";
import { DIRECTORY, QUICK, VENEER } from "./subject.ts";

const driver = Deno.env.get("VENEER_TEST_FS") === "btrfs" ? "btrfs" : "overlay2";
const from = join(DIRECTORY, "from"), to = join(DIRECTORY, "to"), copy = join(DIRECTORY, "copy");
const { name, tar, directory } = makeBase(DIRECTORY);
Deno.removeSync(directory, { recursive: true });
{
  using store = openDriver({ root: from, driver });
  store.create("base");
  store.applyDiff("base", undefined, tar);
}
const layer = driver === "btrfs"
  ? join(from, "btrfs/subvolumes/base")
  : join(from, "overlay2/base/diff");

/** Removes what a turn made, and writes that to disk: the next turn's sync would do it otherwise. */
function empty(): void {
  run("rm", "-rf", copy);
  if (driver !== "btrfs") run("rm", "-rf", to);
  else {
    using store = openDriver({ root: to, driver });
    for (const { id } of store.layers()) store.remove(id);
  }
  run("sync", "-f", DIRECTORY);
}

const copied = (then: string): Contender => ({
  name: `tar -c | tar -x${then}`,
  before: () => run("mkdir", "-p", copy),
  run: () => run("sh", "-c", `tar -C "$0" -c . | tar -C "$1" -x${then} "$1"`, layer, copy),
  after: empty,
});
const SYNCED = " && sync -f";
const plain: Contender = {
  ...copied(""),
  run: () => run("sh", "-c", 'tar -C "$0" -c . | tar -C "$1" -x', layer, copy),
};
const words = ["--root", from, "--driver", driver, "migrate", "--to", driver, "--to-root", to];
const contenders: Contender[] = [
  plain,
  copied(SYNCED),
  { name: "veneer migrate", run: () => run(VENEER[0], ...VENEER.slice(1), ...words), after: empty },
];
console.log(`== migrate, ${driver} on ${Deno.env.get("VENEER_TEST_FS")}`);
const results = await compare(contenders, QUICK ? 3 : 7);
report(`${name}, to disk`, results, `tar -c | tar -x${SYNCED}`, "1.0");
