/**
 * Works on a store at random until it is killed, and prints a byte for each act.
 *
 *     history_child.ts ROOT DRIVER SEED TAR…
 */
import { join } from "@std/path";
import { openDriver, openSnapshotter } from "../support/drivers.ts";
import { randomOf } from "../support/random.ts";

const DONE = new TextEncoder().encode(".");

if (import.meta.main) {
  const [root, driver, seed, ...tars] = Deno.args;
  const random = randomOf(Number(seed)), warn = () => {};
  const pick = <T>(list: readonly T[]): T => list[random(list.length)];
  const records = ["record=none", "record=sizes", "record=hash"];
  const layers = openDriver({ root, driver, warn, options: [pick(records)] });
  const snapshots = openSnapshotter({ root, driver, warn });
  const name = (kind: string) => `${kind}${random(6)}`;
  const write = (path: string) => Deno.writeTextFileSync(join(path, name("file")), "content");
  const acts: (() => unknown)[] = [
    () => layers.create(name("l")),
    () => layers.create(name("l"), { parent: name("l") }),
    () => layers.applyDiff(name("l"), undefined, pick(tars)),
    () => layers.applyDiff(name("l"), undefined, pick(tars)),
    () => write(layers.get(name("l"))),
    () => layers.get(name("l"), { readOnly: true }),
    () => layers.put(name("l")),
    () => layers.put(name("l")),
    () => layers.diff(name("l"), undefined, "/dev/null"),
    () => layers.remove(name("l")),
    () => layers.cleanup(),
    () => snapshots.prepare(name("k"), ""),
    () => snapshots.prepare(name("k"), name("n")),
    () => snapshots.view(name("k"), name("n")),
    () => snapshots.applyDiff(name("k"), pick(tars)),
    () => snapshots.commit(name("n"), name("k"), { labels: new Map([["a", "b"]]) }),
    () => snapshots.remove(name("k")),
    () => snapshots.remove(name("n")),
    () => snapshots.cleanup(),
  ];
  for (;;) {
    try {
      pick(acts)();
    } catch {
      // Most names are not there, or in use.
    }
    Deno.stdout.writeSync(DONE);
  }
}
