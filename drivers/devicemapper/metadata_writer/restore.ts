/**
 * Makes a pool's metadata from a dump.
 *
 * Devices that share blocks of data share no nodes of metadata here, so that it may become larger
 * than it was before the dump.
 *
 * @module
 */
import { SECTOR_SIZE } from "../../../ffi/devmapper.ts";
import { METADATA_BLOCK_SIZE } from "../pool.ts";
import {
  DATA_BLOCK_SIZE_AT,
  DATA_MAP_AT,
  DETAILS_AT,
  MAGIC,
  MAGIC_AT,
  MAPPING_AT,
  METADATA_BLOCK_SIZE_AT,
  METADATA_BLOCKS_AT,
  METADATA_MAP_AT,
  TIME_AT,
  TRANSACTION_ID_AT,
  VERSION,
  VERSION_AT,
} from "../thin_format.ts";
import { BlockWriter, setNumber } from "./blocks.ts";
import {
  type DumpedDevice,
  type DumpedPool,
  type DumpedRange,
  type DumpSink,
  readDump,
  wrong,
} from "./dump.ts";
import {
  DataCounts,
  MOST_METADATA,
  setSpaceMap,
  type SpaceMapRoot,
  writeMetadataMap,
} from "./space_maps.ts";
import { TreeBuilder, wordsOf } from "./tree.ts";

/** The metadata that was made. */
export interface RestoredMetadata {
  readonly pool: DumpedPool;
  /** The numbers of its devices. */
  readonly devices: ReadonlySet<number>;
  /** The number of blocks that were written, with the superblock. */
  readonly blocks: number;
}

/** The place of new metadata. */
export interface MetadataPlace {
  /** A new file, open for writing, all zero. */
  readonly fd: number;
  /** The size that the metadata will have, in bytes. */
  readonly size: number;
  /** The size of the pool's data, in bytes. */
  readonly dataSize: number;
}

/**
 * Writes the metadata of a dump.
 *
 * @param dump open for reading
 * @throws {VeneerError} `invalid argument` if the dump is invalid, or not of a pool of this size;
 * `limit exceeded` if there is too little space
 */
export function restoreMetadata(dump: number, place: MetadataPlace): RestoredMetadata {
  const size = Math.min(Math.floor(place.size / METADATA_BLOCK_SIZE), MOST_METADATA);
  const writer = new MetadataWriter(new BlockWriter(place.fd, size), place.dataSize);
  readDump(dump, writer);
  return writer.finish();
}

class MetadataWriter implements DumpSink {
  readonly #devices: TreeBuilder;
  readonly #details: TreeBuilder;
  readonly #ids = new Set<number>();
  #pool!: DumpedPool;
  #counts!: DataCounts;
  #device: DumpedDevice | undefined;
  #tree!: TreeBuilder;
  #mapped = 0;
  #next = 0;

  constructor(readonly blocks: BlockWriter, readonly dataSize: number) {
    this.#devices = new TreeBuilder(blocks, 2);
    this.#details = new TreeBuilder(blocks, 6);
  }

  begin(pool: DumpedPool): void {
    const most = Math.floor(this.dataSize / (pool.dataBlockSize * SECTOR_SIZE));
    if (pool.dataBlocks > most) {
      throw wrong(`is of a pool with ${pool.dataBlocks} blocks of data, and this one has ${most}`);
    }
    this.#pool = pool;
    this.#counts = new DataCounts(pool.dataBlocks);
  }

  device(device: DumpedDevice): void {
    this.#device = device;
    this.#tree = new TreeBuilder(this.blocks, 2);
    this.#mapped = this.#next = 0;
  }

  mapped({ origin, data, length, time }: DumpedRange): void {
    const { id } = this.#device!;
    if (origin < this.#next) throw wrong(`maps block ${origin} of device ${id} out of order`);
    for (let i = 0; i < length; i++) {
      const block = data + i;
      this.#counts.add(block);
      // data block << 24 | time
      this.#tree.add(origin + i, ((block & 0xff) << 24 | time) >>> 0, Math.floor(block / 256));
    }
    this.#next = origin + length;
    this.#mapped += length;
  }

  endDevice(): void {
    const { id, mappedBlocks, transactionId, creationTime, snapshotTime } = this.#device!;
    if (mappedBlocks !== this.#mapped) {
      throw wrong(
        `maps ${this.#mapped} blocks of device ${id}, and has mapped_blocks ${mappedBlocks}`,
      );
    }
    this.#ids.add(id);
    this.#devices.add(id, ...wordsOf(this.#tree.finish()));
    const made = [...wordsOf(mappedBlocks), ...wordsOf(transactionId)];
    this.#details.add(id, ...made, creationTime, snapshotTime);
  }

  /** Writes what belongs to all devices, and the superblock last. */
  finish(): RestoredMetadata {
    const { blocks } = this, pool = this.#pool;
    const roots = [this.#devices.finish(), this.#details.finish()];
    const dataMap = this.#counts.write(blocks), metadataMap = writeMetadataMap(blocks, blocks.size);
    blocks.writeSuperblock((view) => setSuperblock(view, pool, roots, [dataMap, metadataMap]));
    return { pool, devices: this.#ids, blocks: blocks.next };
  }
}

function setSuperblock(
  view: DataView,
  { time, transactionId, dataBlockSize }: DumpedPool,
  [mapping, details]: readonly number[],
  [dataMap, metadataMap]: readonly SpaceMapRoot[],
): void {
  setNumber(view, MAGIC_AT, MAGIC);
  view.setUint32(VERSION_AT, VERSION, true);
  view.setUint32(TIME_AT, time, true);
  setNumber(view, TRANSACTION_ID_AT, transactionId);
  setSpaceMap(view, DATA_MAP_AT, dataMap);
  setSpaceMap(view, METADATA_MAP_AT, metadataMap);
  setNumber(view, MAPPING_AT, mapping);
  setNumber(view, DETAILS_AT, details);
  view.setUint32(DATA_BLOCK_SIZE_AT, dataBlockSize, true);
  view.setUint32(METADATA_BLOCK_SIZE_AT, METADATA_BLOCK_SIZE / SECTOR_SIZE, true);
  setNumber(view, METADATA_BLOCKS_AT, metadataMap.blocks);
}
