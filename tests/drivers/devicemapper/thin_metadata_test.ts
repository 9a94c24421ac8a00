/**
 * Reading a pool's metadata where it is not as it should be. What it says of real pools is told under user-mode
 * Linux (`uml/devicemapper_snapshots_test.ts`).
 */
import { assertEquals, assertThrows } from "@std/assert";
import { ThinMetadata } from "../../../drivers/devicemapper/thin_metadata.ts";
import { VeneerError } from "../../../lib/base/errors.ts";

const SIZE = 4096;

/** Blocks of metadata by number. */
type Blocks = Map<number, DataView<ArrayBuffer>>;

function block(): DataView<ArrayBuffer> {
  return new DataView(new ArrayBuffer(SIZE));
}

function superblock(mapping: number, details: number): DataView<ArrayBuffer> {
  const view = block();
  view.setBigUint64(32, 27022010n, true);
  view.setBigUint64(56, 7n, true);
  view.setBigUint64(320, BigInt(mapping), true);
  view.setBigUint64(328, BigInt(details), true);
  view.setUint32(336, 128, true);
  return view;
}

/** A node: whether it is an inner one, its keys, and the words of each value. */
function node(
  at: number,
  isInternal: boolean,
  entries: [key: number, ...words: bigint[]][],
): DataView<ArrayBuffer> {
  const view = block();
  const most = 10, valueSize = 8 * (entries[0].length - 1);
  view.setUint32(4, isInternal ? 1 : 2, true);
  view.setBigUint64(8, BigInt(at), true);
  for (const [i, n] of [entries.length, most, valueSize].entries()) {
    view.setUint32(16 + 4 * i, n, true);
  }
  for (const [i, [key, ...words]] of entries.entries()) {
    view.setBigUint64(32 + 8 * i, BigInt(key), true);
    for (const [j, word] of words.entries()) {
      view.setBigUint64(32 + 8 * most + valueSize * i + 8 * j, word, true);
    }
  }
  return view;
}

const mapped = (dataBlock: number, time: number) => BigInt(dataBlock) << 24n | BigInt(time);

/** Device 3, made at time 5, with four blocks in two leaves. */
function pool(): Blocks {
  return new Map([
    [0, superblock(1, 2)],
    [1, node(1, false, [[3, 4n], [9, 4n]])],
    [2, node(2, false, [[3, 4n, 1n, 5n], [9, 4n, 1n, 7n << 32n | 5n]])],
    [4, node(4, true, [[0, 5n], [100, 6n]])],
    [5, node(5, false, [[0, mapped(10, 4)], [1, mapped(11, 5)]])],
    [6, node(6, false, [[100, mapped(12, 0)], [101, mapped(13, 6)]])],
  ]);
}

const read = (blocks: Blocks) => (at: number) =>
  new Uint8Array(blocks.get(at)?.buffer ?? new ArrayBuffer(0));
const ownBlocks = (blocks: Blocks, device = 3) =>
  new ThinMetadata(read(blocks), 0).ownBlocks(device);

Deno.test("blocks as old as a device, or younger, are its own", () => {
  assertEquals(ownBlocks(pool()), 2);
  assertEquals(ownBlocks(pool(), 9), 2, "made at the same time, and last a parent at 7");
  const metadata = new ThinMetadata(read(pool()), 0);
  assertEquals([metadata.heldSuperblock, metadata.dataBlockSize], [7, 128]);
});

Deno.test("metadata that is damaged is not believed", () => {
  const cases: [string, (blocks: Blocks) => void][] = [
    ["is not a superblock", (blocks) => blocks.set(0, block())],
    ["has no device 3", (blocks) => blocks.get(1)!.setBigUint64(32, 2n, true)],
    ["has no device 3", (blocks) => blocks.get(2)!.setBigUint64(32, 4n, true)],
    ["is not a node of a tree", (blocks) => blocks.get(5)!.setBigUint64(8, 6n, true)],
    ["is not a node of a tree", (blocks) => blocks.get(5)!.setUint32(16, 11, true)],
    ["is not a node of a tree", (blocks) => blocks.get(5)!.setUint32(20, 1000, true)],
    ["is not a node of a tree", (blocks) => blocks.get(5)!.setUint32(24, 24, true)],
    ["is twice in a tree", (blocks) => blocks.set(4, node(4, true, [[0, 4n]]))],
    ["is twice in a tree", (blocks) => blocks.set(4, node(4, true, [[0, 5n], [100, 5n]]))],
    ["is below itself", (blocks) => blocks.set(2, node(2, true, [[0, 2n]]))],
    ["is shorter than its superblock states", (blocks) => blocks.delete(6)],
  ];
  for (const [message, damage] of cases) {
    const blocks = pool();
    damage(blocks);
    assertThrows(() => ownBlocks(blocks), VeneerError, message);
  }
});
