/**
 * Power cuts at random moments of a history of layers that are made with `sync=layer`, and some of them
 * removed: what was reported done when the power went is whole afterwards, a repair mends the rest, and
 * the store works on.
 *
 * `VENEER_TEST_LONG` takes 200 moments on each file system, `VENEER_TEST_SEED` draws others.
 */
import { assert, assertEquals } from "@std/assert";
import { IDENTITY } from "../../../lib/base/id_maps.ts";
import type { ImageKind } from "../../runner/images.ts";
import { IS_LONG, lacksFileSystem, needs, run, tempDir } from "../../support/cases.ts";
import { PROGRAM } from "../../support/commands.ts";
import { type Random, randomOf } from "../../support/random.ts";
import { lacking as lacksDevices, SMALL } from "../devicemapper/support.ts";
import { lacksWriteLog, LoggedDisk } from "../../support/write_log.ts";

const SEED = Number(Deno.env.get("VENEER_TEST_SEED") ?? 1);
const CUTS = IS_LONG ? 200 : 3;

/** How many layers a history has. */
export const LAYERS = IS_LONG ? 40 : 6;

/** Mebibytes: xfs wants 300 at least. */
const DISKS: readonly [kind: ImageKind, mebibytes: number, driver: string][] = [
  ["ext4", 128, "overlay2"],
  ["xfs", 320, "overlay2"],
  ["btrfs", 256, "btrfs"],
  ["ext4", 512, "devicemapper"],
];

const storeOn = (directory: string, driver: string) => ({
  root: `${directory}/root`,
  driver,
  options: ["sync=layer", ...driver === "devicemapper" ? SMALL : []],
  idMaps: IDENTITY,
  warn: () => {},
});
export type Store = ReturnType<typeof storeOn>;

/** The trees of layers by their names. */
export type Trees = ReadonlyMap<string, string>;

/** A history of a store of one kind, and what is seen of it after a power cut. */
export interface History {
  /**
   * Makes {@linkcode LAYERS} layers. Marks `+NAME` when one was reported done, and `-NAME` before one
   * is removed.
   *
   * @param scratch an empty directory on another disk
   * @returns the trees of all layers that were there once
   */
  make(store: Store, scratch: string, random: Random, mark: (text: string) => void): Trees;

  /**
   * Looks at a store that was repaired after a power cut, and works on with it.
   *
   * @param names the layers that are promised to be there, the last one that was made at the end
   * @param looks those among them whose trees are looked at: all would take long
   */
  look(store: Store, names: readonly string[], looks: ReadonlySet<string>, trees: Trees): void;
}

/** Small files in directories, one of many blocks, a link and a symbolic one. */
export function fill(root: string, random: Random, name: string): void {
  for (let i = 0; i < 4; i++) {
    Deno.mkdirSync(`${root}/d${random(6)}/${name}`, { recursive: true });
  }
  const directories = [...Deno.readDirSync(root)].filter(({ isDirectory }) => isDirectory);
  for (const { name: directory } of directories) {
    for (let i = 0; i < 5; i++) {
      const text = `${name} ${i}\n`.repeat(1 + random(400));
      Deno.writeTextFileSync(`${root}/${directory}/f${i}`, text);
    }
  }
  Deno.writeFileSync(`${root}/large`, new Uint8Array(random(1 << 19)).fill(random(256)));
  Deno.mkdirSync(`${root}/links-${name}`);
  Deno.linkSync(`${root}/large`, `${root}/links-${name}/hard`);
  Deno.symlinkSync("../large", `${root}/links-${name}/symbolic`);
}

/** The names that were promised to be there by then. */
function promised(marks: readonly string[]): string[] {
  const names = new Set<string>();
  for (const mark of marks) {
    if (mark.startsWith("+")) names.add(mark.slice(1));
    else names.delete(mark.slice(1));
  }
  return [...names];
}

/** A finding of a check. */
interface Finding {
  readonly isNote: boolean;
  readonly breaks: { readonly layers: string[] };
}

/** What a command on a store prints as JSON, whatever its status. */
function outcome<T>({ root, driver }: Store, command: string): T {
  const [program, ...words] = PROGRAM;
  const options = ["--root", root, "--driver", driver, "--json"];
  const { stdout, stderr } = run(program, ...words, ...options, command);
  assert(stdout !== "", stderr);
  return JSON.parse(stdout);
}

/** What check says is damaged. */
const damage = (store: Store): Finding[] =>
  outcome<{ findings: Finding[] }>(store, "check").findings.filter(({ isNote }) => !isNote);

/** Checks a store: what was promised is whole, and a repair mends or moves aside all else. */
function care(store: Store, names: readonly string[]): void {
  const found = damage(store);
  const isPromised = ({ breaks }: Finding) => breaks.layers.some((name) => names.includes(name));
  assertEquals(found.filter(isPromised), []);
  const { lost } = outcome<{ lost: { name: string }[] }>(store, "repair");
  assertEquals(lost.filter(({ name }) => names.includes(name)), [], "promised, and given up");
  assertEquals(damage(store), [], "left by a repair");
}

/**
 * Runs a history on each kind of file system, and looks at it after power cuts.
 *
 * @param title the kind of store
 */
export function cutPower(title: string, history: History): void {
  for (const [kind, mebibytes, driver] of DISKS) {
    const lacking = lacksWriteLog(kind) ??
      (driver === "overlay2" ? lacksFileSystem("overlay") : undefined) ??
      (driver === "devicemapper" ? lacksDevices : undefined);
    needs(lacking, `${driver} on ${kind}, sync=layer: power cuts lose no ${title}`, () => {
      using directory = tempDir();
      using disk = new LoggedDisk(kind, directory.path, mebibytes << 20);
      using scratch = tempDir();
      const store = storeOn(disk.mountPoint, driver);
      const trees = history.make(store, scratch.path, randomOf(SEED), (text) => disk.mark(text));
      const log = disk.end();
      const { begin, length } = log, random = randomOf(SEED);
      assert(length > 10 * LAYERS, `${length} writes`);
      // Nothing is promised before the first mark.
      const cuts = new Set<number>();
      while (cuts.size < CUTS) cuts.add(begin + 1 + random(length - begin));
      const ascending = [...cuts].sort((a, b) => a - b);
      log.replay(ascending, ({ marks }) => {
        const names = promised(marks);
        care(store, names);
        // The last, with all those below it, and another.
        const looks = [names.at(-1), names[marks.length % names.length]];
        history.look(store, names, new Set(looks.filter((name) => name !== undefined)), trees);
      });
      console.log(`${driver} on ${kind}: ${CUTS} power cuts in ${length} writes`);
    });
  }
}
