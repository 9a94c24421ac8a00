/**
 * Thousands of hostile tars, each on a store of its own: applied or refused in one line that says where, and
 * nothing outside the layer has changed. In a short run it is a sample of every class.
 *
 * `VENEER_HOSTILE_SEED` and `VENEER_HOSTILE_MIXTURES` make a campaign of it.
 *
 * @module
 */
// @runs on ext4, btrfs
// @runs long on xfs
import { assertEquals } from "@std/assert";
import { BTRFS_MAGIC, EXT_MAGIC, statfs } from "../../../ffi/statfs.ts";
import { Arena, type Driver } from "../../tar/hostile/arena.ts";
import { type HostileTar, hostileTars, sampleOf } from "../../tar/hostile/mod.ts";
import { IS_LONG, lacksFileSystem, needs } from "../../support/cases.ts";

const SEED = Number(Deno.env.get("VENEER_HOSTILE_SEED") ?? 20240607);
const MIXTURES = Number(Deno.env.get("VENEER_HOSTILE_MIXTURES") ?? 400);
const SAMPLE = 150;

const { type, name } = statfs(Deno.env.get("VENEER_TEST_DIR") ?? "/tmp");

/** What became of one class. */
interface Tally {
  applied: number;
  refused: number;
  readonly broke: string[];
}

/** Tries tars, and adds up what became of each class. */
class Campaign implements Disposable {
  readonly #driver: Driver;
  readonly #tallies = new Map<string, Tally>();
  #arena: Arena | undefined;

  constructor(driver: Driver) {
    this.#driver = driver;
  }

  try(hostile: HostileTar): void {
    const tally = this.#tally(hostile.class);
    try {
      this.#arena ??= new Arena(this.#driver);
      const { result, message } = this.#arena.try(hostile);
      tally[result]++;
      if (hostile.expected !== undefined && result !== hostile.expected) {
        throw new Error(`it must be ${hostile.expected}, and was ${result} ${message}`);
      }
      // In a short run one store serves as long as it holds.
      if (IS_LONG) this.leave();
    } catch (error) {
      tally.broke.push(`${hostile.class}: ${hostile.name}: ${(error as Error).message}`);
      this.leave();
    }
  }

  #tally(kind: string): Tally {
    let tally = this.#tallies.get(kind);
    if (!tally) this.#tallies.set(kind, tally = { applied: 0, refused: 0, broke: [] });
    return tally;
  }

  leave(): void {
    this.#arena?.[Symbol.dispose]();
    this.#arena = undefined;
  }

  /** Prints the count of each class. @returns what broke */
  report(): string[] {
    for (const [kind, { applied, refused, broke }] of this.#tallies) {
      console.log(
        `    ${kind.padEnd(24)} ${applied} applied, ${refused} refused, ${broke.length} broke`,
      );
    }
    return [...this.#tallies.values()].flatMap(({ broke }) => broke);
  }

  [Symbol.dispose](): void {
    this.leave();
  }
}

function run(driver: Driver, lacking: string | undefined): void {
  needs(lacking, `${driver}: hostile tars change nothing outside their layer`, () => {
    const all = [...hostileTars(SEED, MIXTURES)];
    assertEquals(all.length > 1000 + MIXTURES, true, `${all.length}`);
    using campaign = new Campaign(driver);
    for (const hostile of IS_LONG ? all : sampleOf(all, SAMPLE)) campaign.try(hostile);
    assertEquals(campaign.report(), []);
  });
}

run(
  "overlay2",
  type === EXT_MAGIC ? lacksFileSystem("overlay") : `it runs on ext4, this is ${name}`,
);
run("btrfs", type === BTRFS_MAGIC ? undefined : `it needs btrfs, this is ${name}`);
