/**
 * The same layers, the same tree: generated layers, applied by a driver and mounted, held against a
 * model, and, if there are no whiteouts, against GNU tar's extraction of the same tars into one
 * directory.
 *
 * 200 chains of two or three layers are made, 2000 with VENEER_TEST_LONG=1; VENEER_TEST_SEED names
 * one batch of them. A driver holds what every other one is held against, so that they all show the
 * same. In a guest, 40 are made and none is extracted by GNU tar, to which a driver makes no
 * difference, but with VENEER_TEST_LONG=1.
 */
import { assertEquals } from "@std/assert";
import type { GraphDriver } from "../../../lib/graph/driver.ts";
import { IN_GUEST, IS_LONG, mountPoints, must, needs } from "../../support/cases.ts";
import { apply } from "../../support/layers.ts";
import { storeDir } from "../../support/store_dir.ts";
import { tar } from "../../tar/support/tar_builder.ts";
import { CHAINS, type Flavour, layersOf } from "./layers.ts";
import { Model, type Step } from "./model.ts";
import { partsOf } from "./tars.ts";
import { modelLines, treeLines } from "./trees.ts";

/** A driver under test. */
export interface Subject {
  readonly name: string;
  readonly open: (root: string) => GraphDriver;
  /** Why it does not run here, if it does not. */
  readonly lacking?: string;
  /** Its layers are mounted as a union: a hard link to a file of a layer below is one to a copy. */
  readonly copiesUp: boolean;
}

const SEED = Number(Deno.env.get("VENEER_TEST_SEED") ?? 0);
const TOTAL = IS_LONG ? 2000 : IN_GUEST ? 40 : 200;
const ASKS_GNU_TAR = IS_LONG || !IN_GUEST;

/** The batches of chains to make. */
export function seeds(): number[] {
  if (SEED > 0) return [SEED];
  return Array.from({ length: TOTAL / CHAINS }, (_, i) => i + 1);
}

/** Every other batch is one that GNU tar extracts. */
export const flavourOf = (seed: number): Flavour => seed % 2 === 0 ? "extracted" : "layered";

/** Whether GNU tar extracts a batch here. */
const isExtracted = (seed: number) => ASKS_GNU_TAR && flavourOf(seed) === "extracted";

/** Registers the case for a driver. */
export function sameTree(subject: Subject): void {
  const { name, lacking, copiesUp } = subject;
  needs(lacking, `${name}: ${TOTAL} generated chains of layers are as modelled`, () => {
    using dir = storeDir();
    const driver = subject.open(`${dir.path}/root`);
    let layers = 0, extracted = 0;
    for (const seed of seeds()) {
      const scratch = `${dir.path}/${seed}`;
      Deno.mkdirSync(scratch);
      const chain = layersOf(seed, flavourOf(seed));
      holdChain({ driver, scratch, seed, chain, copiesUp });
      for (const i of chain.keys().toArray().reverse()) driver.remove(`${seed}-${i}`);
      Deno.removeSync(scratch, { recursive: true });
      layers += chain.length * CHAINS;
      if (isExtracted(seed)) extracted += chain.length * CHAINS;
    }
    driver.cleanup();
    assertEquals(mountPoints(`${dir.path}/root`), []);
    const others = ASKS_GNU_TAR ? `, ${extracted} of them with GNU tar, too` : "";
    console.log(`${name}: ${layers} layers compared with the model${others}`);
  });
}

interface Held {
  readonly driver: GraphDriver;
  readonly scratch: string;
  readonly seed: number;
  readonly chain: readonly Step[][];
  readonly copiesUp: boolean;
}

/** Applies the tars of a chain one after the other, and compares each layer's tree. */
function holdChain({ driver, scratch, seed, chain, copiesUp }: Held): void {
  const since = now();
  const model = new Model(copiesUp), plain = new Model(false);
  Deno.mkdirSync(`${scratch}/extracted`);
  for (const [i, steps] of chain.entries()) {
    for (const tree of [model, plain]) {
      tree.beginLayer();
      steps.forEach((step) => tree.take(step));
    }
    const path = `${scratch}/${i}.tar`, id = `${seed}-${i}`, what = `seed ${seed}, layer ${i}`;
    Deno.writeFileSync(path, tar(...partsOf(steps)));
    driver.create(id, { parent: i === 0 ? undefined : `${seed}-${i - 1}` });
    apply(driver, id, path);
    assertSame(mounted(driver, id, (root) => treeLines(root, { since })), modelLines(model), what);
    if (!isExtracted(seed)) continue;
    extract(path, `${scratch}/extracted`);
    // A tar that comes later changes the times of directories that it only passes through.
    const lines = treeLines(`${scratch}/extracted`, { since, timeless: true });
    assertSame(lines.slice(1), modelLines(plain, true).slice(1), `${what}, by GNU tar`);
  }
}

/** Fails with the lines alone that differ. */
export function assertSame(actual: string[], expected: string[], what: string): void {
  const left = (lines: string[], others: string[]) => {
    const set = new Set(others);
    return lines.filter((line) => !set.has(line));
  };
  const found = left(actual, expected), missing = left(expected, actual);
  assertEquals({ found, missing }, { found: [], missing: [] }, what);
  assertEquals(actual.length, expected.length, what);
}

/**
 * The clock that file systems take their times from, which may be ticks behind on a busy machine. The times of the tars
 * are years earlier.
 */
function now(): bigint {
  return BigInt(Date.now()) * 1_000_000n - 60_000_000_000n;
}

function mounted<T>(driver: GraphDriver, id: string, use: (root: string) => T): T {
  const root = driver.get(id);
  try {
    return use(root);
  } finally {
    driver.put(id);
  }
}

function extract(file: string, into: string): void {
  const attributes = [
    "--xattrs",
    "--xattrs-include=*",
    "--acls",
    "--same-owner",
    "--numeric-owner",
  ];
  must("tar", "-C", into, ...attributes, "-P", "-p", "-xf", file);
}
