/**
 * Id maps: which host ids the ids inside a user namespace stand for (user_namespaces(7)).
 *
 * Tars and `changes` speak of container ids; the store's files carry host ids.
 *
 * @module
 */
import { VeneerError } from "./errors.ts";
import { escapeControls } from "./printable.ts";

/** One range: `size` ids from `container` inside are those from `host` outside. */
export interface IdRange {
  /** The first id inside. */
  readonly container: number;
  /** The id outside that it stands for. */
  readonly host: number;
  /** The number of ids, at least 1. */
  readonly size: number;
}

/** The most ranges that the kernel takes for a namespace (user_namespaces(7)). */
export const MAX_RANGES = 340;

/** The characters of an invalid map that a message has. */
const SHOWN = 30;

/** One more than the largest id: (uid_t)-1 stands for "no id". */
const ID_LIMIT = 0xffff_ffff;

/**
 * The map of user or of group ids. The empty map is the identity.
 *
 * @example
 * ```ts no-eval
 * import { IdMap, openDriver } from "@veneer/veneer";
 *
 * const ids = IdMap.parse(["0:100000:65536"]);
 * console.log(ids.toHost(1000)); // 101000
 * using layers = await openDriver({ root: "/srv/mapped", idMaps: { uids: ids, gids: ids } });
 * ```
 */
export class IdMap {
  readonly #ranges: readonly IdRange[];

  /**
   * Creates a map.
   *
   * @param ranges none for the identity
   * @throws {VeneerError} `invalid argument` if ranges overlap or leave 32 bits
   */
  constructor(ranges: readonly IdRange[] = []) {
    for (const [i, range] of ranges.entries()) {
      if (
        range.size === 0 || !fits(range.container, range) ||
        !fits(range.host, range)
      ) {
        throw invalid(
          format(range),
          "a range has a size of at least 1 and ends below 4294967295",
        );
      }
      for (const other of ranges.slice(0, i)) {
        if (overlap(range.container, range.size, other.container, other.size)) {
          throw invalid(
            format(range),
            `its container ids overlap those of ${format(other)}`,
          );
        }
        if (overlap(range.host, range.size, other.host, other.size)) {
          throw invalid(
            format(range),
            `its host ids overlap those of ${format(other)}`,
          );
        }
      }
    }
    this.#ranges = ranges;
  }

  /** Reads `container:host:size`, the form of `--uidmap`, once or comma-separated. */
  static parse(texts: readonly string[]): IdMap {
    return new IdMap(
      texts.flatMap((text) => text.split(",")).map((text) => {
        const match = /^(\d+):(\d+):(\d+)$/.exec(text);
        if (!match) {
          throw invalid(
            text,
            "it must be CONTAINER:HOST:SIZE, such as 0:100000:65536",
          );
        }
        const [container, host, size] = match.slice(1).map(Number);
        return { container, host, size };
      }),
    );
  }

  /** Whether nothing is mapped: every id stands for itself. */
  get isIdentity(): boolean {
    return this.#ranges.length === 0;
  }

  /** The ranges that it was made of; none for the identity. */
  get ranges(): readonly IdRange[] {
    return this.#ranges;
  }

  /** The host id of a container id. */
  toHost(id: number): number | undefined {
    if (this.isIdentity) return id;
    const range = this.#ranges.find((r) => id >= r.container && id < r.container + r.size);
    return range && range.host + (id - range.container);
  }

  /** The container id of a host id. */
  toContainer(id: number): number | undefined {
    if (this.isIdentity) return id;
    const range = this.#ranges.find((r) => id >= r.host && id < r.host + r.size);
    return range && range.container + (id - range.host);
  }

  /**
   * The host id of container root, the owner of directories that a driver creates.
   *
   * @throws {VeneerError} `invalid argument` if id 0 is not mapped
   */
  get root(): number {
    const root = this.toHost(0);
    if (root === undefined) {
      throw invalid(
        this.#ranges.map(format).join(","),
        "it maps no id 0, the owner of the layer's root",
      );
    }
    return root;
  }
}

/**
 * A map in the form that {@linkcode IdMap.parse} reads, ordered by container ids; `""` for the
 * identity.
 */
export function formatIdMap({ ranges }: IdMap): string {
  return ranges.toSorted((a, b) => a.container - b.container).map(format).join(",");
}

/** Both maps of a store. */
export interface IdMaps {
  /** Of users. */
  readonly uids: IdMap;
  /** Of groups. */
  readonly gids: IdMap;
}

/** Every id stands for itself. */
export const IDENTITY: IdMaps = { uids: new IdMap(), gids: new IdMap() };

const format = ({ container, host, size }: IdRange) => `${container}:${host}:${size}`;

const fits = (start: number, { size }: IdRange) =>
  Number.isSafeInteger(start) && start >= 0 && start + size <= ID_LIMIT;

const overlap = (a: number, aSize: number, b: number, bSize: number) =>
  a < b + bSize && b < a + aSize;

function invalid(text: string, rule: string): VeneerError {
  const shown = JSON.stringify(text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text);
  return new VeneerError("invalid argument", `id map ${escapeControls(shown)}: ${rule}`);
}
