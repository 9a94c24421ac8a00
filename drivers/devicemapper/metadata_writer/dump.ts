/**
 * Reads a dump of a pool's metadata, as `thin_dump` of thin-provisioning-tools writes it, in XML:
 *
 * ```text
 * <superblock uuid time transaction data_block_size nr_data_blocks>    sizes in sectors
 *   <def name> mappings </def>                                         parts that devices share
 *   <device dev_id mapped_blocks transaction creation_time snap_time>
 *     <single_mapping origin_block data_block time/>
 *     <range_mapping origin_begin data_begin length time/>
 *     <ref name/>
 *   </device>
 * </superblock>
 * ```
 *
 * It may be anybody's file, so every number is checked before it is used, and the memory and the
 * time that it costs are bounded by its length and by the pool's size.
 *
 * @module
 */
import { VeneerError } from "../../../lib/base/errors.ts";
import { MAX_DEVICE_ID } from "../records.ts";
import { type Tag, tagsIn } from "./dump_tags.ts";

/** The pool of a dump. */
export interface DumpedPool {
  readonly time: number;
  readonly transactionId: number;
  /** In sectors. */
  readonly dataBlockSize: number;
  readonly dataBlocks: number;
}

/** A device of a dump. */
export interface DumpedDevice {
  readonly id: number;
  readonly mappedBlocks: number;
  readonly transactionId: number;
  readonly creationTime: number;
  readonly snapshotTime: number;
}

/** Blocks of a device that follow each other, in the device and in the data. */
export interface DumpedRange {
  readonly origin: number;
  readonly data: number;
  readonly length: number;
  readonly time: number;
}

/** Gets the parts of a dump, in order. */
export interface DumpSink {
  begin(pool: DumpedPool): void;
  device(device: DumpedDevice): void;
  mapped(range: DumpedRange): void;
  endDevice(): void;
}

/** Times have 24 bits in a mapping. */
const MOST_TIME = 2 ** 24 - 1;

/** The kernel's limits of the size of a data block, in sectors: 64 KiB to 1 GiB. */
const LEAST_BLOCK = 128, MOST_BLOCK = 2 ** 21;

/** The most blocks of a device: keys stay exact, and so do sizes in sectors. */
const MOST_ORIGIN = 2 ** 45;

/** The most ranges in shared parts, which are kept in memory. */
const MOST_SHARED = 1 << 20;

/**
 * Reads a dump to its end.
 *
 * @param fd open for reading
 * @throws {VeneerError} `invalid argument` if it is not a dump, or contradicts itself
 */
export function readDump(fd: number, sink: DumpSink): void {
  new DumpReader(fd, sink).read();
}

class DumpReader {
  readonly #tags: Generator<Tag>;
  readonly #shared = new Map<string, readonly DumpedRange[]>();
  #kept = 0;
  #pool!: DumpedPool;

  constructor(fd: number, readonly sink: DumpSink) {
    this.#tags = tagsIn(fd);
  }

  read(): void {
    const first = this.#next();
    if (first.name !== "superblock" || first.isEnd) throw wrong("does not begin with a superblock");
    const blockSize = number(first, "data_block_size", MOST_BLOCK);
    if (blockSize < LEAST_BLOCK || blockSize % LEAST_BLOCK !== 0) {
      throw wrong(`has data_block_size ${blockSize}, which is not a multiple of ${LEAST_BLOCK}`);
    }
    this.#pool = {
      time: number(first, "time", MOST_TIME),
      transactionId: number(first, "transaction"),
      dataBlockSize: blockSize,
      dataBlocks: number(first, "nr_data_blocks"),
    };
    this.sink.begin(this.#pool);
    if (!first.isEmpty) this.#readParts();
    if (!this.#tags.next().done) throw wrong("goes on after its superblock");
  }

  #readParts(): void {
    let last = -1;
    for (let tag; !isEnd(tag = this.#next(), "superblock");) {
      if (tag.name === "def" && !tag.isEnd) {
        this.#define(tag);
        continue;
      }
      if (tag.name !== "device" || tag.isEnd) throw wrong(`has ${tag.name} in its superblock`);
      last = this.#readDevice(tag, last);
    }
  }

  #readDevice(tag: Tag, last: number): number {
    const { time, transactionId } = this.#pool;
    const id = number(tag, "dev_id", MAX_DEVICE_ID);
    if (id <= last) throw wrong(`has device ${id} after device ${last}`);
    this.sink.device({
      id,
      mappedBlocks: number(tag, "mapped_blocks"),
      transactionId: number(tag, "transaction", transactionId),
      creationTime: number(tag, "creation_time", time),
      snapshotTime: number(tag, "snap_time", time),
    });
    if (!tag.isEmpty) this.#readRanges("device", (range) => this.sink.mapped(range));
    this.sink.endDevice();
    return id;
  }

  #define(tag: Tag): void {
    const ranges: DumpedRange[] = [];
    if (!tag.isEmpty) {
      this.#readRanges("def", (range) => {
        if (++this.#kept > MOST_SHARED) throw wrong("has too many shared mappings");
        ranges.push(range);
      });
    }
    this.#shared.set(tag.attributes.get("name") ?? "", ranges);
  }

  #readRanges(inside: string, use: (range: DumpedRange) => void): void {
    for (let tag; !isEnd(tag = this.#next(), inside);) {
      if (tag.name === "ref") {
        const ranges = this.#shared.get(tag.attributes.get("name") ?? "");
        if (ranges === undefined) throw wrong("refers to a shared part that it does not have");
        ranges.forEach(use);
      } else use(this.#range(tag));
      if (!tag.isEmpty) throw wrong(`has something in a ${tag.name}`);
    }
  }

  #range(tag: Tag): DumpedRange {
    const isSingle = tag.name === "single_mapping";
    if (!isSingle && tag.name !== "range_mapping") throw wrong(`has ${tag.name} in a device`);
    const [from, to] = isSingle ? ["origin_block", "data_block"] : ["origin_begin", "data_begin"];
    const range = {
      origin: number(tag, from, MOST_ORIGIN),
      data: number(tag, to),
      length: isSingle ? 1 : number(tag, "length"),
      time: number(tag, "time", this.#pool.time),
    };
    const { data, length } = range, { dataBlocks } = this.#pool;
    if (length === 0 || data + length > dataBlocks) {
      throw wrong(`maps ${length} blocks from data block ${data}, of ${dataBlocks}`);
    }
    return range;
  }

  #next(): Tag {
    const { done, value } = this.#tags.next();
    if (done) throw wrong("is cut short");
    return value;
  }
}

const isEnd = ({ isEnd, name }: Tag, wanted: string): boolean => isEnd && name === wanted;

/** A number of a tag, from 0 to the most. */
function number({ name, attributes }: Tag, key: string, most = Number.MAX_SAFE_INTEGER): number {
  const text = attributes.get(key);
  if (text === undefined) throw wrong(`has a ${name} without ${key}`);
  const value = /^\d{1,16}$/.test(text) ? Number(text) : NaN;
  if (value <= most) return value;
  throw wrong(
    `has ${key}=${JSON.stringify(text.slice(0, 40))}, which is not a number up to ${most}`,
  );
}

/** The error about a dump that is not one, or contradicts itself. */
export const wrong = (what: string): VeneerError =>
  new VeneerError("invalid argument", `the dump ${what}`);
