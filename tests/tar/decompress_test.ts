/**
 * Compressed input: recognised, decompressed beside the apply, and where it is damaged one clear error and
 * never a hang.
 *
 * @module
 */
import { assertEquals, assertLess, assertStringIncludes } from "@std/assert";
import { constants, gzipSync, zstdCompressSync } from "node:zlib";
import {
  close,
  lseek,
  O_DIRECTORY,
  O_NONBLOCK,
  O_RDONLY,
  open,
  SEEK_CUR,
  withFd,
} from "../../ffi/files.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import { IDENTITY } from "../../lib/base/id_maps.ts";
import { applyTar, openTarInput } from "../../lib/tar/apply/apply.ts";
import { ZstdFrames } from "../../lib/tar/read/zstd_frames.ts";
import { bytes, concat, dir, file, tar } from "./support/tar_builder.ts";
import { makeTempDir, Sandbox } from "./support/tar_layers.ts";
import { cpuTime, limitHere } from "../support/cpu_time.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const gzip = (data: Uint8Array): Bytes => new Uint8Array(gzipSync(data));
const zstd = (data: Uint8Array): Bytes =>
  new Uint8Array(zstdCompressSync(data, { params: { [constants.ZSTD_c_checksumFlag]: 1 } }));

/** Bytes that do not compress well, so that there is much to decompress. */
const NOISE = Uint8Array.from({ length: 3_000_000 }, (_, i) => (i * 2654435761) >>> 13);
const ARCHIVE = tar(dir("d"), file("d/noise", NOISE), file("d/small", "x"));
const TREE = ["d dir", "d/noise file <3000000 bytes>", 'd/small file "x"'];

/** Writes a file to a pipe. */
const WHOLE = `cat <"$0" >"$1"`;
/** The same in three parts, with pauses. */
const PARTS = `{ head -c 300; sleep 0.2; head -c 50000; sleep 0.2; cat; } <"$0" >"$1"`;

/** Applies from a pipe that a shell's script writes to. `mode` is a flag of open(2). */
async function applyFromPipe(
  sandbox: Sandbox,
  data: Bytes,
  { script = WHOLE, mode = 0 } = {},
): Promise<void> {
  const top = makeTempDir(), path = `${top}/data`, fifo = `${top}/fifo`;
  Deno.writeFileSync(path, data);
  new Deno.Command("mkfifo", { args: [fifo] }).outputSync();
  const writer = new Deno.Command("sh", {
    args: ["-c", script, path, fifo],
    stderr: "null",
  })
    .spawn();
  // Opened to block at first, which waits for the writer.
  const input = withFd(open(fifo, O_RDONLY), (fd) => open(`/proc/self/fd/${fd}`, O_RDONLY | mode));
  const directory = open(sandbox.root, O_RDONLY | O_DIRECTORY);
  try {
    applyTar(input, directory, { whiteouts: "none", idMaps: IDENTITY });
  } finally {
    close(input);
    close(directory);
    await writer.status;
    Deno.removeSync(top, { recursive: true });
  }
}

for (
  const [name, compress] of [["no", (tar: Bytes) => tar], ["gzip", gzip], ["zstd", zstd]] as const
) {
  Deno.test(`apply: a pipe that does not block is waited for, with ${name} compression`, async () => {
    using sandbox = new Sandbox();
    await applyFromPipe(sandbox, compress(ARCHIVE), { script: PARTS, mode: O_NONBLOCK });
    assertEquals(sandbox.tree({ attributes: false }), TREE);
    assertEquals(Deno.readFileSync(`${sandbox.root}/d/noise`), NOISE);
  });
}

for (const [name, compress] of [["gzip", gzip], ["zstd", zstd]] as const) {
  Deno.test(`TestDecompressStream, TestDetectCompression: ${name} from a file and from a pipe`, async () => {
    for (const apply of [(s: Sandbox, d: Bytes) => void s.apply(d), applyFromPipe]) {
      using sandbox = new Sandbox();
      await apply(sandbox, compress(ARCHIVE));
      assertEquals(sandbox.tree({ attributes: false }), TREE);
      assertEquals(Deno.readFileSync(`${sandbox.root}/d/noise`), NOISE);
    }
  });

  Deno.test(`decompress: ${name}, given up, reads nothing more, whatever gets the descriptor's number`, async () => {
    const path = `${makeTempDir()}/data`;
    // What follows gives no output, so no write to the closed pipe ends the reading.
    const silent = concat(Array<Bytes>(100_000).fill(compress(new Uint8Array())));
    Deno.writeFileSync(path, concat([compress(ARCHIVE.subarray(0, 1024)), silent]));
    for (let turn = 0; turn < 4; turn++) {
      const given = open(path, O_RDONLY);
      openTarInput(given).close();
      close(given);
      const next = open(path, O_RDONLY);
      await new Promise((resolve) => setTimeout(resolve, 50));
      assertEquals([next, lseek(next, 0n, SEEK_CUR)], [given, 0n]);
      close(next);
    }
  });

  Deno.test(`decompress: ${name} in several members, one after another`, () => {
    using sandbox = new Sandbox();
    const cuts = [0, 100, 512, 70_000, ARCHIVE.length];
    const members = cuts.slice(1).map((end, i) => compress(ARCHIVE.subarray(cuts[i], end)));
    sandbox.apply(concat(members));
    assertEquals(sandbox.tree({ attributes: false }), TREE);
  });

  Deno.test(`decompress: ${name} of nothing is no tar, of nothing but the marker an empty layer`, () => {
    using sandbox = new Sandbox();
    assertStringIncludes(
      sandbox.refuse(compress(new Uint8Array())),
      `the ${name} input's content is empty`,
    );
    assertEquals(sandbox.apply(compress(new Uint8Array(1024))), { size: 0, entries: 0 });
  });

  Deno.test(`decompress: ${name} without the tar's marker is taken if proven whole, cut short never`, () => {
    const unmarked = compress(tar(file("f", "x".repeat(5000))).slice(0, -1024));
    using sandbox = new Sandbox();
    assertStringIncludes(sandbox.refuse(unmarked), "without its end-of-archive marker");
    assertStringIncludes(
      sandbox.refuse(unmarked.slice(0, -3), { provenWhole: true }),
      `the ${name} input is damaged or cut short`,
    );
    Deno.removeSync(`${sandbox.root}/f`);
    sandbox.apply(unmarked, { provenWhole: true });
    assertEquals(sandbox.warnings.length, 1);
  });

  Deno.test(`decompress: ${name} of what is no tar is refused`, () => {
    using sandbox = new Sandbox();
    const message = sandbox.refuse(compress(bytes("hello, world")));
    assertStringIncludes(message, `the ${name} input's content is not a tar archive`);
  });

  Deno.test(`decompress: ${name} cut short anywhere is one clear error`, async () => {
    const whole = compress(ARCHIVE);
    for (const share of [0.001, 0.3, 0.9, 0.999]) {
      const part = whole.slice(0, Math.max(20, Math.floor(whole.length * share)));
      for (const apply of [(s: Sandbox, d: Bytes) => void s.apply(d), applyFromPipe]) {
        using sandbox = new Sandbox();
        const error = await Promise.resolve().then(() => apply(sandbox, part)).then(
          () => undefined,
          (thrown) => thrown,
        );
        assertEquals(error instanceof VeneerError && error.code, "invalid argument", `${share}`);
        assertStringIncludes(error.message, `the ${name} input is damaged or cut short`);
        sandbox.assertContained();
      }
    }
  });

  Deno.test(`decompress: ${name} with a damaged byte is one clear error`, () => {
    const whole = compress(ARCHIVE);
    for (const share of [0.1, 0.5, 0.95]) {
      using sandbox = new Sandbox();
      const damaged = whole.slice();
      const at = Math.floor(whole.length * share);
      damaged.fill(0xa5, at, at + 16);
      assertStringIncludes(sandbox.refuse(damaged), `the ${name} input is damaged`);
    }
  });

  Deno.test(`decompress: ${name} that grows a thousandfold is streamed, and closed early without a hang`, () => {
    using sandbox = new Sandbox();
    const path = `${sandbox.top}/bomb`;
    const zeros = new Uint8Array(64 << 20);
    Deno.writeFileSync(path, compress(concat([tar(file("f", "x")).subarray(0, 1024), zeros])));
    const fd = open(path, O_RDONLY);
    const started = performance.now();
    const input = openTarInput(fd);
    input.close();
    input.close();
    close(fd);
    assertLess(performance.now() - started, 60_000);
  });
}

Deno.test("decompress: the checksum behind the tar's end is checked too", () => {
  using sandbox = new Sandbox();
  const whole = gzip(ARCHIVE);
  whole[whole.length - 6] ^= 1; // the CRC of RFC 1952's trailer
  assertStringIncludes(sandbox.refuse(whole), "the gzip input is damaged or cut short");
});

Deno.test("decompress: a skippable frame of zstd before the data", () => {
  using sandbox = new Sandbox();
  const skippable = concat([bytes("\x51\x2a\x4d\x18\x04\0\0\0skip"), zstd(ARCHIVE)]);
  sandbox.apply(skippable);
  assertEquals(sandbox.tree({ attributes: false }), TREE);
});

Deno.test("decompress: a tar whose first name looks compressed is a tar", () => {
  for (const name of ["\x1f\x8b\x08name", "BZh9", "\x28\xb5\x2f\xfdname"]) {
    using sandbox = new Sandbox();
    assertEquals(sandbox.apply(tar(file(name, "x"))).entries, 1);
  }
});

/** A frame of nothing, as RFC 8878 has it: single segment, content size 0, one last raw block. */
const EMPTY_FRAME = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0x20, 0, 1, 0, 0);
const repeated = (part: Uint8Array, count: number): Bytes => {
  const all = new Uint8Array(part.length * count);
  for (let i = 0; i < count; i++) all.set(part, i * part.length);
  return all;
};

Deno.test("decompress: zstd of a hundred thousand empty and skippable frames takes no memory for each", () => {
  using sandbox = new Sandbox();
  const skippable = bytes("\x51\x2a\x4d\x18\x04\0\0\0skip");
  const frames = repeated(concat([EMPTY_FRAME, skippable]), 100_000);
  const started = cpuTime(), before = Deno.memoryUsage().rss;
  sandbox.apply(concat([frames, zstd(ARCHIVE), frames]));
  assertLess(cpuTime() - started, limitHere(10_000));
  assertLess(Deno.memoryUsage().rss - before, 100 << 20);
  assertEquals(sandbox.tree({ attributes: false }), TREE);
});

Deno.test("decompress: without libzstd, empty frames cost no decompressor", () => {
  const frames = repeated(EMPTY_FRAME, 100_000);
  const parts = [
    frames,
    EMPTY_FRAME.map((byte, i) => i === 4 ? 0x24 : byte),
    bytes("sums"),
    zstd(bytes("data")),
  ];
  const chunks = [concat(parts), new Uint8Array()];
  const reader = new ZstdFrames(() => chunks.shift()!);
  assertEquals(reader.next(), true);
  assertEquals(concat([...reader.frame()]), zstd(bytes("data")));
  assertEquals(reader.next(), false);
});

Deno.test("decompress: a zstd window of more than 128 MiB is refused in one line", () => {
  using sandbox = new Sandbox();
  // A frame header that asks for a window of 256 MiB, and a last raw block of 1 byte.
  const frame = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0, 18 << 3, 9, 0, 0, 0x41);
  assertStringIncludes(
    sandbox.refuse(frame),
    "the zstd input is damaged or cut short: Frame requires too much memory",
  );
});

Deno.test("decompress: zeros without an end behind the archive are not read to their end", () => {
  // Blocks of 128 KiB of zeros, 4 bytes each: 65 GB in 2 MB.
  const header = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0, 7 << 3);
  const zeros = repeated(Uint8Array.of(2 | 0, 0, 0x10, 0), 500_000);
  using sandbox = new Sandbox();
  const started = cpuTime();
  sandbox.apply(concat([zstd(ARCHIVE), header, zeros]));
  assertLess(cpuTime() - started, limitHere(10_000));
  assertEquals(sandbox.tree({ attributes: false }), TREE);
});

Deno.test("apply: a stream of zeros without an end is an empty layer", () => {
  using sandbox = new Sandbox();
  const input = open("/dev/zero", O_RDONLY), directory = open(sandbox.root, O_RDONLY | O_DIRECTORY);
  try {
    const applied = applyTar(input, directory, { whiteouts: "none", idMaps: IDENTITY });
    assertEquals(applied, { size: 0, entries: 0 });
  } finally {
    close(input);
    close(directory);
  }
});

Deno.test("decompress: gzip of many empty members takes little time and memory", () => {
  using sandbox = new Sandbox();
  const members = repeated(gzip(new Uint8Array()), 100_000);
  const started = cpuTime(), before = Deno.memoryUsage().rss;
  sandbox.apply(concat([members, gzip(ARCHIVE), members]));
  assertLess(cpuTime() - started, limitHere(10_000));
  assertLess(Deno.memoryUsage().rss - before, 100 << 20);
  assertEquals(sandbox.tree({ attributes: false }), TREE);
});
