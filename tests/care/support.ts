/** What the cases of checks share: stores that are damaged in one place, and what a check finds. */
import { assertEquals } from "@std/assert";
import { basename, dirname, join } from "@std/path";
import { type Checked, type CheckedStore, checkStore } from "../../lib/care/check.ts";
import { type Repaired, repairStore } from "../../lib/care/repair.ts";
import { DRIVERS } from "../../drivers/names.ts";
import { must } from "../support/cases.ts";

const write = (path: string, text: string) => {
  Deno.removeSync(path);
  Deno.writeTextFileSync(path, text);
};

function replace(path: string, make: () => void): void {
  Deno.removeSync(path, { recursive: true });
  make();
}

/** Moves a file aside, under a name that is no id, and puts a link to it in its place. */
function linkInPlace(path: string): void {
  const aside = join(dirname(path), `.aside-${basename(path)}`);
  Deno.renameSync(path, aside);
  Deno.symlinkSync(aside, path);
}

/** What a power cut, an editor or an attacker makes of a record. */
export const RECORD_DAMAGES: Readonly<Record<string, (path: string) => void>> = {
  "emptied": (path) => write(path, ""),
  "zeroed": (path) => write(path, "\0".repeat(26)),
  "garbage": (path) => write(path, "\x01\x02 not what was there\n\n"),
  "replaced by a directory": (path) => replace(path, () => Deno.mkdirSync(path)),
  "replaced by a fifo": (path) => replace(path, () => void must("mkfifo", path)),
  "replaced by a link": linkInPlace,
  "of another owner": (path) => Deno.chownSync(path, 1000, 1000),
  "that others can write to": (path) => Deno.chmodSync(path, 0o666),
  "of two megabytes": (path) => write(path, "x".repeat(2 << 20)),
  "removed": (path) => Deno.removeSync(path),
};

/** The fault in the kind of the finding about each. */
export const RECORD_FAULTS: Readonly<Record<string, string>> = {
  "emptied": "empty",
  "zeroed": "zeroed",
  "garbage": "invalid",
  "replaced by a directory": "not-a-file",
  "replaced by a fifo": "not-a-file",
  "replaced by a link": "not-a-file",
  "of another owner": "owner",
  "that others can write to": "owner",
  "of two megabytes": "too-long",
  "removed": "missing",
};

/** What becomes of a directory. */
export const DIRECTORY_DAMAGES: Readonly<Record<string, (path: string) => void>> = {
  "removed": (path) => Deno.removeSync(path, { recursive: true }),
  "replaced by a file": (path) => replace(path, () => Deno.writeTextFileSync(path, "")),
  "replaced by a fifo": (path) => replace(path, () => void must("mkfifo", path)),
  "replaced by a link": linkInPlace,
};

const CHECKS = new Map(
  await Promise.all(
    DRIVERS.map(async ({ name, loadChecks }) => [name, await loadChecks?.()] as const),
  ),
);

/** Checks a store as the command does. */
export function check(root: string, driver: string, of: CheckedStore["of"] = "layers"): Checked {
  // Nothing else is at work here.
  return checkStore({ root, driver, of, checks: CHECKS.get(driver) }, 0)!;
}

/** Repairs a store as the command does; errors fail the case. */
export function repair(root: string, driver: string, of: CheckedStore["of"] = "layers"): Repaired {
  const failed = (error: Error) => {
    throw error;
  };
  const store = { root, driver, of, checks: CHECKS.get(driver) };
  // Nothing else is at work here.
  return repairStore(store, { isWanted: () => true, failed, pause: 0 })!;
}

/** The findings as `KIND FILE`, the file below the home. */
export function kindsOf({ findings, home }: Checked): string[] {
  const below = (file: string) =>
    file.startsWith(`${home}/`) ? file.slice(home.length + 1) : file.replace(dirname(home), "..");
  return findings.map(({ kind, file }) => `${kind} ${below(file)}`).sort();
}

/** A copy of a store to damage. */
export function copyOf(root: string, directory: string): string {
  const copy = join(directory, crypto.randomUUID());
  must("cp", "-a", root, copy);
  return copy;
}

/** Checks what is found in a damaged store, and which layers it breaks. */
export function assertFound(
  checked: Checked,
  kinds: readonly string[],
  layers?: readonly string[],
): void {
  assertEquals(kindsOf(checked), kinds, JSON.stringify(checked.findings, null, 1));
  if (layers === undefined) return;
  const broken = new Set(checked.findings.flatMap(({ breaks }) => breaks.layers));
  assertEquals([...broken].sort(), layers);
}

/** A damage of a store: the home is given, and the names on disk of layers or snapshots. */
export interface Damage<Names = unknown> {
  readonly name: string;
  readonly damage: (home: string, names: Names) => void;
  /** `KIND FILE`, in which `<ID>` is the name on disk of a layer or snapshot. */
  readonly found: readonly string[];
  /** The layers that it breaks, if the case is about them. */
  readonly breaks?: readonly string[];
  /** The layers that a repair gives up; none by default. */
  readonly lost?: readonly string[];
  /** What a repair can do nothing about, as `found`. */
  readonly left?: readonly string[];
}

/** A healthy store, and how the cases of its damages see it. */
export interface Healthy<Names> {
  readonly root: string;
  /** Where copies are made. */
  readonly scratch: string;
  readonly driver: string;
  readonly of?: CheckedStore["of"];
  /** Given to each damage. */
  readonly names: Names;
  /** The name on disk of `<ID>`. */
  readonly nameOf?: (id: string) => string;
  /** Makes another healthy store, of what cannot be copied file by file. */
  readonly make?: (root: string) => void;
  /** Looks at the repaired store. */
  readonly examine?: (root: string, repaired: Repaired) => void;
}

/**
 * Checks a healthy store, then a copy of it for each damage, which must be found as it is, repaired
 * as far as it can be, and not found again.
 */
export async function findEach<Names>(
  t: Deno.TestContext,
  { root, scratch, driver, of = "layers", names, nameOf = (id) => id, examine }: Healthy<Names>,
  damages: readonly Damage<Names>[],
): Promise<void> {
  assertFound(check(root, driver, of), []);
  for (const { name, damage, found, breaks, lost = [], left = [] } of damages) {
    await t.step(name, () => {
      const copy = copyOf(root, scratch);
      damage(join(copy, of === "layers" ? driver : `snapshots/${driver}`), names);
      const onDisk = (lines: readonly string[]) =>
        lines.map((line) => line.replace(/<(\w+)>/g, (_, id) => nameOf(id))).sort();
      assertFound(check(copy, driver, of), onDisk(found), breaks);
      const repaired = repair(copy, driver, of);
      assertEquals(repaired.lost.map(({ name }) => name).sort(), [...lost].sort());
      assertFound(check(copy, driver, of), onDisk(left));
      examine?.(copy, repaired);
    });
  }
}

/** A record, link or directory of a store, and what may be found of it. */
export interface Thing {
  /** Below the home. */
  readonly path: string;
  readonly is: "record" | "directory";
  /** How kinds of findings about it begin, its own and those of what hangs on it. */
  readonly kinds: readonly string[];
  /** A store without it is healthy, too. */
  readonly isOptional?: boolean;
  /** Empty it means something. */
  readonly mayBeEmpty?: boolean;
  /** It means the same whatever it holds. */
  readonly isMark?: boolean;
  /** Nothing can mend it. */
  readonly isUnmendable?: boolean;
  /** Another one of its sort, whose content it gets. */
  readonly twin?: string;
}

/** Cuts a record in the middle. */
function cut(path: string): void {
  const bytes = Deno.readFileSync(path);
  Deno.writeFileSync(path, bytes.subarray(0, bytes.length >> 1));
}

/** The damages of a thing, by their names. */
function damagesOf({ is, twin, isOptional, mayBeEmpty, isMark }: Thing, home: string) {
  const damages: Record<string, (path: string) => void> = is === "directory"
    ? { ...DIRECTORY_DAMAGES }
    : { ...RECORD_DAMAGES, "cut in the middle": cut };
  if (twin !== undefined) {
    damages["as another's"] = (path) => Deno.copyFileSync(join(home, twin), path);
  }
  if (isOptional) delete damages["removed"];
  if (mayBeEmpty || isMark) delete damages["emptied"];
  if (isMark) delete damages["garbage"];
  return Object.entries(damages);
}

/** The damages that leave a record that could be right. */
const MAYBE_RIGHT = ["cut in the middle", "as another's"];

/**
 * Damages each thing of a healthy store in every way, each on a copy: it is found, and named as what
 * it is; what is left after a repair is only what nothing can mend; a second repair does nothing.
 *
 * @returns how many damages were found
 */
export function damageAll(
  { root, scratch, driver, of = "layers", make, examine }: Omit<Healthy<unknown>, "names">,
  things: readonly Thing[],
): number {
  assertFound(check(root, driver, of), []);
  let count = 0;
  for (const thing of things) {
    const home = join(of === "layers" ? driver : `snapshots/${driver}`);
    const twins = join(root, home);
    for (const [name, damage] of damagesOf(thing, twins)) {
      const what = `${thing.path} ${name}`;
      const copy = make === undefined ? copyOf(root, scratch) : join(scratch, crypto.randomUUID());
      make?.(copy);
      damage(join(copy, home, thing.path));
      const kinds = check(copy, driver, of).findings.map(({ kind }) => kind);
      if (!MAYBE_RIGHT.includes(name) && kinds.length === 0) throw new Error(`${what}: not found`);
      if (kinds.length > 0) count++;
      const other = kinds.find((kind) => !thing.kinds.some((begin) => kind.startsWith(begin)));
      if (other !== undefined) throw new Error(`${what}: found as ${kinds.join(", ")}`);
      const repaired = repair(copy, driver, of);
      const left = check(copy, driver, of).findings.filter(({ isNote }) => !isNote);
      if (left.length > 0 && !thing.isUnmendable) {
        throw new Error(`${what}: left ${left.map(({ kind, file }) => `${kind} ${file}`).join()}`);
      }
      const again = repair(copy, driver, of);
      assertEquals([again.mended, again.lost, again.quarantine], [[], [], undefined], what);
      if (kinds.length > 0) examine?.(copy, repaired);
      Deno.removeSync(copy, { recursive: true });
    }
  }
  return count;
}

/**
 * The metadata of a pool in the kernel's form: a superblock, and the tree of its devices.
 *
 * @param devices the number of each device, and the pool's transaction id when it was made
 */
export function poolMetadata(
  transactionId: number,
  devices: readonly (readonly [number, number])[],
): Uint8Array {
  const bytes = new Uint8Array(3 * 4096), view = new DataView(bytes.buffer);
  const MAGIC = 27022010n, DETAILS = 1, MAPPING = 2;
  view.setBigUint64(32, MAGIC, true);
  view.setBigUint64(48, BigInt(transactionId), true);
  view.setBigUint64(320, BigInt(MAPPING), true);
  view.setBigUint64(328, BigInt(DETAILS), true);
  view.setUint32(336, 128, true);
  for (const [block, valueSize, entries] of [[DETAILS, 24, devices], [MAPPING, 8, []]] as const) {
    const at = block * 4096, most = 100;
    view.setUint32(at + 4, 2, true); // LEAF_NODE
    view.setBigUint64(at + 8, BigInt(block), true);
    view.setUint32(at + 16, entries.length, true);
    view.setUint32(at + 20, most, true);
    view.setUint32(at + 24, valueSize, true);
    for (const [i, [id, madeIn]] of entries.entries()) {
      view.setBigUint64(at + 32 + 8 * i, BigInt(id), true);
      view.setBigUint64(at + 32 + 8 * most + 24 * i + 8, BigInt(madeIn), true);
    }
  }
  return bytes;
}
