/**
 * The metadata of a pool that is made from a dump: by our own reader, and by thin_check and
 * thin_dump. The kernel's word on it is in `tests/care/restore_pool_test.ts`.
 */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { restoreMetadata } from "../../../drivers/devicemapper/metadata_writer/restore.ts";
import { ThinMetadata } from "../../../drivers/devicemapper/thin_metadata.ts";
import { close, O_CREAT, O_RDONLY, O_RDWR, O_TRUNC, open } from "../../../ffi/files.ts";
import { crc32c } from "../../../lib/base/crc32c.ts";
import { VeneerError } from "../../../lib/base/errors.ts";
import { lacksProgram, must, needs, tempDir } from "../../support/cases.ts";

const SIZE = 16 << 20, DATA_SIZE = 2 ** 40;

const head = (blocks: number, more = "") =>
  `<superblock uuid="" time="7" transaction="5" flags="0" version="2" data_block_size="128" nr_data_blocks="${blocks}"${more}>\n`;
const device = (id: number, mapped: number, inside: string) =>
  `<device dev_id="${id}" mapped_blocks="${mapped}" transaction="4" creation_time="3" snap_time="7">\n${inside}</device>\n`;
const single = (origin: number, data: number, time = 2) =>
  `<single_mapping origin_block="${origin}" data_block="${data}" time="${time}"/>\n`;
const range = (origin: number, data: number, length: number, time = 2) =>
  `<range_mapping origin_begin="${origin}" data_begin="${data}" length="${length}" time="${time}"/>\n`;
const END = "</superblock>\n";

/** Makes the metadata of a dump in a directory's file `made`. */
function restored(directory: string, dump: string, size = SIZE, dataSize = DATA_SIZE) {
  const path = join(directory, "dump.xml"), made = join(directory, "made");
  Deno.writeTextFileSync(path, dump);
  const from = open(path, O_RDONLY), fd = open(made, O_RDWR | O_CREAT | O_TRUNC, 0o600);
  try {
    Deno.truncateSync(made, size);
    return restoreMetadata(from, { fd, size, dataSize });
  } finally {
    close(from);
    close(fd);
  }
}

/** The mappings of a dump, each by itself, and its devices. */
function partsOf(dump: string): string[] {
  return [...dump.matchAll(/<(device|single_mapping|range_mapping) ([^>]*)>/g)].flatMap(
    ([, name, text]) => {
      const of = new Map(
        [...text.matchAll(/(\w+)="(\d+)"/g)].map(([, key, n]) => [key, Number(n)]),
      );
      if (name === "device") return [`device ${[...of.values()].join(" ")}`];
      const origin = of.get("origin_block") ?? of.get("origin_begin")!;
      const data = of.get("data_block") ?? of.get("data_begin")!;
      return Array.from(
        { length: of.get("length") ?? 1 },
        (_, i) => `${origin + i} ${data + i} ${of.get("time")}`,
      );
    },
  );
}

/** Devices of these sizes, which share blocks of data up to four times. */
function dumpOf(...sizes: number[]): string {
  const blocks = Math.max(...sizes, 1);
  const devices = sizes.map((size, id) => {
    const one = Array.from({ length: size }, (_, i) => single(3 * i, (i * 7 + id % 2) % blocks));
    return device(3 * id + 1, size, one.join(""));
  });
  return head(blocks) + devices.join("") + END;
}

Deno.test("crc32c: the published check value", () => {
  // "123456789" gives 0xe3069283, with the final inversion.
  assertEquals((~crc32c(new TextEncoder().encode("123456789"))) >>> 0, 0xe3069283);
});

needs(
  Deno.uid() === 0 ? lacksProgram("thin_check") : "it needs root",
  "pool metadata from a dump: thin_check finds no fault, and thin_dump gives the same dump",
  async (t) => {
    using dir = tempDir();
    // Nodes have 252 entries, bitmaps 16,320, and trees one to three levels.
    for (
      const sizes of [[], [0], [1], [252, 0, 253], [503, 504, 505, 505], [17_000, 9000], [70_000]]
    ) {
      await t.step(`devices of ${sizes.join(", ") || "none"}`, () => {
        const dump = dumpOf(...sizes);
        restored(dir.path, dump);
        // The tools read devices, and not each file system's files.
        const made = must("losetup", "--find", "--show", join(dir.path, "made")).trim();
        using _made = { [Symbol.dispose]: () => void must("losetup", "--detach", made) };
        must("thin_check", "--quiet", made);
        const again = must("thin_dump", made);
        assertEquals(partsOf(again), partsOf(dump));
      });
    }
  },
);

Deno.test("pool metadata from a dump: our own reader finds the devices, and refs are replaced", () => {
  using dir = tempDir();
  const shared = `<def name="0">\n${range(0, 10, 3)}</def>\n`;
  const { devices, pool } = restored(
    dir.path,
    head(100) + shared + device(1, 4, '<ref name="0"/>\n' + single(5, 50, 3)) +
      device(8, 3, '<ref name="0"/>\n') + END,
  );
  assertEquals([[...devices], pool.transactionId], [[1, 8], 5]);
  const bytes = Deno.readFileSync(join(dir.path, "made"));
  const metadata = new ThinMetadata((at) => bytes.slice(4096 * at, 4096 * (at + 1)), 0);
  assertEquals(metadata.devices(), new Map([[1, 4], [8, 4]]));
  assertEquals([metadata.firstBlock(1), metadata.firstBlock(8)], [10n, 10n]);
  assertEquals([metadata.transactionId, metadata.ownBlocks(1), metadata.ownBlocks(8)], [5, 1, 0]);
});

const HOSTILE: Readonly<Record<string, [dump: string, message: string]>> = {
  "nothing": ["", "is cut short"],
  "a tar": ["base\0\0\0".repeat(2000), "is not a dump of thin_dump"],
  "no superblock": [device(1, 0, ""), "does not begin with a superblock"],
  "an entity": [`<!DOCTYPE x [<!ENTITY a "b">]>${head(1)}${END}`, "is not a dump"],
  "text": [head(1) + "text" + END, "is not a dump"],
  "a long tag": [head(1, ` a="${"x".repeat(5000)}"`) + END, "is not a dump"],
  "cut short": [head(9) + '<device dev_id="1"', "is not a dump"],
  "no end": [head(9) + device(1, 1, single(0, 0)), "is cut short"],
  "more after it": [head(9) + END + head(9) + END, "goes on after its superblock"],
  "too large a pool": [head(2 ** 40) + END, "is of a pool with 1099511627776 blocks"],
  "a block size": [head(1).replace('size="128"', 'size="100"') + END, "not a multiple of 128"],
  "no number": [head(1).replace('time="7"', 'time="-1"') + END, 'has time="-1"'],
  "a large number": [head(1).replace('time="7"', 'time="16777216"') + END, "a number up to"],
  "no attribute": [head(1).replace('time="7"', "") + END, "a superblock without time"],
  "data outside": [head(9) + device(1, 2, range(0, 8, 2)) + END, "maps 2 blocks from data block 8"],
  "an endless range": [
    head(9) + device(1, 2, range(0, 0, 2 ** 52)) + END,
    "maps 4503599627370496 blocks",
  ],
  "an empty range": [head(9) + device(1, 0, range(0, 0, 0)) + END, "maps 0 blocks"],
  "an overlap": [
    head(9) + device(1, 3, range(0, 0, 2) + single(1, 5)) + END,
    "block 1 of device 1 out of order",
  ],
  "another order": [head(9) + device(1, 2, single(4, 0) + single(3, 1)) + END, "out of order"],
  "a wrong count": [head(9) + device(1, 3, single(0, 0)) + END, "and has mapped_blocks 3"],
  "a device twice": [head(9) + device(1, 0, "").repeat(2) + END, "has device 1 after device 1"],
  "a device's number": [head(9) + device(2 ** 24, 0, "") + END, "a number up to 16777215"],
  "the future": [head(9) + device(1, 1, single(0, 0, 8)) + END, 'has time="8"'],
  "no such part": [head(9) + device(1, 1, '<ref name="x"/>') + END, "that it does not have"],
  "a device in a device": [
    head(9) + device(1, 0, device(2, 0, "")) + END,
    "has device in a device",
  ],
};

Deno.test("pool metadata from a dump: a dump that is not one is refused in one line", async (t) => {
  using dir = tempDir();
  for (const [name, [dump, message]] of Object.entries(HOSTILE)) {
    await t.step(name, () => {
      const error = assertThrows(() => restored(dir.path, dump), VeneerError, message);
      assertEquals(error.code, "invalid argument");
      assert(!error.message.includes("\n") && error.message.length < 300, error.message);
    });
  }
});

Deno.test("pool metadata from a dump: parts that double each other end at a limit", () => {
  using dir = tempDir();
  const parts = Array.from({ length: 60 }, (_, i) => {
    const inside = i === 0 ? single(0, 0) : `<ref name="${i - 1}"/>`.repeat(2);
    return `<def name="${i}">${inside}</def>`;
  });
  assertThrows(
    () => restored(dir.path, head(9) + parts.join("") + END),
    VeneerError,
    "too many shared mappings",
  );
});

Deno.test("pool metadata from a dump: metadata that is too small is told", () => {
  using dir = tempDir();
  const dump = head(300_000) + device(1, 300_000, range(0, 0, 300_000)) + END;
  assertThrows(() => restored(dir.path, dump, 1 << 20), VeneerError, "needs more than 256 blocks");
});
