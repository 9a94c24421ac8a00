/**
 * From each driver to each other one and back: the diffs of generated layers, applied elsewhere, give the trees that
 * the layers they were taken of show.
 */
// @runs on ext4, guest ext4
import { assertEquals } from "@std/assert";
import type { GraphDriver } from "../../../lib/graph/driver.ts";
import { IDENTITY } from "../../../lib/base/id_maps.ts";
import {
  IN_GUEST,
  IS_LONG,
  lacksFileSystem,
  lacksProgram,
  must,
  needs,
  type TempDir,
} from "../../support/cases.ts";
import { openDriver } from "../../support/drivers.ts";
import { apply, diff } from "../../support/layers.ts";
import { storeDir } from "../../support/store_dir.ts";
import { tar } from "../../tar/support/tar_builder.ts";
import { lacking as lackingAufs } from "../aufs/support.ts";
import { lacking as lackingDevicemapper, openStore } from "../devicemapper/support.ts";
import { type Flavour, layersOf } from "../same_tree/layers.ts";
import { assertSame, flavourOf } from "../same_tree/suite.ts";
import { partsOf } from "../same_tree/tars.ts";
import { treeLines } from "../same_tree/trees.ts";

/** What aufs can open. */
const LONGEST_NAME = 242;

/** A driver and its store. */
interface Party {
  readonly name: string;
  readonly driver: GraphDriver;
  /** Its layers can be looked at; otherwise they are only filled and diffed. */
  readonly mounts: boolean;
  /** A diff tells of each file's names in the layer, also of those that layers below had. */
  readonly keepsLinks: boolean;
}

/** In a guest, starting a worker takes longer than what it does. */
const WORKERS = IN_GUEST ? ["workers=0"] : [];

const open = (driver: string, root: string) =>
  openDriver({
    root,
    driver,
    options: driver === "btrfs" ? ["btrfs.quota=off", ...WORKERS] : WORKERS,
    idMaps: IDENTITY,
    warn: (message) => {
      throw new Error(`a warning of ${driver}: ${message}`);
    },
  });

function parties({ path }: TempDir): Party[] {
  const party = (name: string, root: string, keepsLinks: boolean, mounts = true) => {
    const driver = name === "devicemapper"
      ? openStore(root, { options: WORKERS })
      : open(name, root);
    return { name, driver, keepsLinks, mounts };
  };
  // Where its kernel is missing, a store of aufs opens that is there.
  Deno.mkdirSync(`${path}/root/aufs/layers`, { recursive: true });
  Deno.mkdirSync(`${path}/btrfs`);
  must("truncate", "-s", "1G", `${path}/image`);
  must("mkfs.btrfs", "-q", `${path}/image`);
  must("mount", "-o", "loop", `${path}/image`, `${path}/btrfs`);
  const found = [
    party("overlay2", `${path}/root`, true),
    party("btrfs", `${path}/btrfs/root`, false),
    party("aufs", `${path}/root`, true, lackingAufs === undefined),
  ];
  if (lackingDevicemapper !== undefined) return found;
  return [...found, party("devicemapper", `${path}/root`, false)];
}

/** A chain of layers in one store. */
interface Chain {
  readonly party: Party;
  readonly ids: readonly string[];
}

/** Each layer's tree. Times of the roots are left out: a diff does not carry them. */
function treesOf({ party, ids }: Chain): string[][] {
  return ids.map((id) => {
    const root = party.driver.get(id);
    try {
      const [top, ...lines] = treeLines(root, { since: 1n << 62n });
      return [top.replace(/^("" directory \S+ \S+) \d+/, "$1"), ...lines];
    } finally {
      party.driver.put(id);
    }
  });
}

/** Makes layers of tars, one on the other. */
function makeChain(party: Party, name: string, tars: readonly string[]): Chain {
  const ids = tars.map((_, i) => `${name}-${i}`);
  for (const [i, id] of ids.entries()) {
    party.driver.create(id, { parent: ids[i - 1] });
    apply(party.driver, id, tars[i]);
  }
  return { party, ids };
}

function copyTo(party: Party, { party: from, ids }: Chain, name: string, scratch: string): Chain {
  const tars = ids.map((id) => diff(from.driver, id, undefined, scratch));
  return makeChain(party, name, tars);
}

const withoutLinks = (lines: readonly string[]) =>
  lines.map((line) => line.replace(/ linked .*$/s, ""));

function assertSameTrees(
  chain: Chain,
  expected: readonly string[][],
  what: string,
  links: boolean,
) {
  for (const [i, tree] of treesOf(chain).entries()) {
    const shown = links ? (lines: string[]) => lines : withoutLinks;
    assertSame(shown(tree), shown(expected[i]), `${what}, layer ${i}`);
  }
}

const lacking = lacksFileSystem("overlay") ?? lacksFileSystem("btrfs") ??
  lacksProgram("mkfs.btrfs");

const seeds = IS_LONG ? [1, 2, 3, 4, 5, 6] : [1];

for (const seed of seeds) {
  const flavour = flavourOf(seed);
  needs(lacking, `round trips between every two drivers: seed ${seed}, ${flavour}`, () => {
    tripAll(seed, flavour);
  });
}

/** A guest is for devicemapper; other drivers meet on the machine's own kernel. */
const areToMeet = (...two: readonly Party[]) =>
  !IN_GUEST || two.some(({ name }) => name === "devicemapper");

function tripAll(seed: number, flavour: Flavour): void {
  using dir = storeDir();
  const all = parties(dir);
  const tars = layersOf(seed, flavour, LONGEST_NAME).map((steps, i) => {
    Deno.writeFileSync(`${dir.path}/${i}.tar`, tar(...partsOf(steps)));
    return `${dir.path}/${i}.tar`;
  });
  let trips = 0, pairs = 0;
  for (const from of all) {
    const shown = makeChain(from.mounts ? from : all[0], `for-${from.name}`, tars);
    const expected = treesOf(shown);
    // Layers that cannot be looked at are themselves brought from some that can.
    const source = from.mounts ? shown : copyTo(from, shown, "source", dir.path);
    for (const to of all) {
      if (to === from || !areToMeet(from, to)) continue;
      const what = `${from.name} to ${to.name}`, links = from.keepsLinks;
      const copy = copyTo(to, source, `${from.name}-${to.name}`, dir.path);
      if (to.mounts) assertSameTrees(copy, expected, what, links);
      const back = copyTo(from, copy, `back-${to.name}`, dir.path);
      if (from.mounts) assertSameTrees(back, expected, `${what} and back`, links && to.keepsLinks);
      trips += 2 * tars.length;
      pairs++;
    }
  }
  for (const { driver } of all) driver.cleanup();
  const among = all.map(({ name }) => name).join(", ");
  console.log(
    `${trips} layers brought from one of ${among} to another and back, in ${pairs} pairs`,
  );
  const others = all.length - 1;
  assertEquals(pairs, IN_GUEST ? 2 * others : all.length * others);
}
