/**
 * Compression by Workers: read by the programs that users have, the same bytes for each number of Workers, and one
 * error if the output or the writer fails.
 *
 * @module
 */
import { assert, assertEquals, assertFalse, assertThrows } from "@std/assert";
import { ENOSPC, SyscallError } from "../../ffi/errno.ts";
import { close, O_CREAT, O_WRONLY, open, writeAll } from "../../ffi/files.ts";
import { isSameMemory } from "../../ffi/memory.ts";
import { compressing } from "../../lib/tar/compress/compress.ts";
import { compressPieces } from "../../lib/tar/compress/pieces.ts";
import { BLOCK_BYTES } from "../../lib/tar/compress/sizes.ts";
import { makeTempDir } from "./support/tar_layers.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** Bytes that pack to about a half, and repeat over the ends of blocks. */
function sample(size: number): Bytes {
  let seed = 1;
  return Uint8Array.from({ length: size }, (_, i) => {
    seed = (Math.imul(seed, 1664525) + 1013904223) | 0;
    return i % 5000 < 2500 ? i % 251 : seed >>> 27;
  });
}

/** Quicker than `assertEquals`. */
const isSame = (a: Bytes, b: Bytes) => a.length === b.length && isSameMemory(a, b, a.length);

/** Runs `use` on a new file, and returns its content. */
function made(use: (fd: number) => void): Bytes {
  const top = makeTempDir();
  try {
    const fd = open(`${top}/out`, O_WRONLY | O_CREAT, 0o600);
    try {
      use(fd);
    } finally {
      close(fd);
    }
    return Deno.readFileSync(`${top}/out`);
  } finally {
    Deno.removeSync(top, { recursive: true });
  }
}

/** Writes pieces whose sizes have nothing to do with those of blocks. */
function* pieces(bytes: Bytes): Generator<Bytes> {
  for (let at = 0; at < bytes.length; at += 100_003) yield bytes.subarray(at, at + 100_003);
}

const writing = (bytes: Bytes) => (fd: number) => {
  for (const piece of pieces(bytes)) writeAll(fd, piece);
};

/** The output of a program that gets some bytes; it must succeed. */
async function through(program: string, input: Bytes): Promise<{ success: boolean; bytes: Bytes }> {
  const child = new Deno.Command(program, {
    args: ["-dc"],
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const output = child.output();
  await new Blob([input]).stream().pipeTo(child.stdin).catch(() => {});
  const { success, stdout } = await output;
  return { success, bytes: stdout };
}

/** The open files of this process: pipes by their numbers. */
function openFiles(): string[] {
  return Array.from(Deno.readDirSync("/proc/self/fd"), ({ name }) => {
    try {
      return Deno.readLinkSync(`/proc/self/fd/${name}`);
    } catch {
      return ""; // Closed since it was listed.
    }
  });
}

for (const compression of ["gzip", "zstd"] as const) {
  const block = BLOCK_BYTES[compression];

  Deno.test(`compress: ${compression} of each size is the same by any number of Workers`, async () => {
    for (const size of [0, 1, block - 1, block, 2 * block + 12345]) {
      const plain = sample(size);
      const packed = made((fd) => compressPieces(compression, pieces(plain), fd));
      const { success, bytes } = await through(compression, packed);
      assert(success, `${size}`);
      assert(isSame(bytes, plain), `${size}`);
      assert(size < 1000 || packed.length < size * 0.6, `${size} became ${packed.length}`);
      for (const workers of [1, 3]) {
        const other = made((fd) => compressing(compression, fd, writing(plain), workers));
        assert(isSame(other, packed), `${size} by ${workers}`);
      }
    }
  });

  Deno.test(`compress: ${compression} into an output that is full ends the writer`, () => {
    const fd = open("/dev/full", O_WRONLY), plain = sample(block);
    let pipe = "";
    try {
      const error = assertThrows(
        () =>
          compressing(compression, fd, (to) => {
            pipe = Deno.readLinkSync(`/proc/self/fd/${to}`);
            // An endless writer: it is stopped by an error, or never.
            for (;;) writeAll(to, plain);
          }),
        SyscallError,
      );
      assertEquals([error.syscall, error.errno, error.path], ["write", ENOSPC, "/dev/full"]);
    } finally {
      close(fd);
    }
    assert(pipe.startsWith("pipe:"));
    assertFalse(openFiles().includes(pipe), "both ends are closed");
  });

  Deno.test(`compress: ${compression} whose writer fails is no whole stream`, async () => {
    for (const size of [0, 3 * block + 5]) {
      const packed = made((fd) => {
        assertThrows(
          () =>
            compressing(compression, fd, (to) => {
              writing(sample(size))(to);
              throw new Error("the walk failed");
            }),
          Error,
          "the walk failed",
        );
      });
      const { success, bytes } = await through(compression, packed);
      // Frames of zstd are whole each.
      assertFalse(success && bytes.length >= size && size > 0);
      if (compression === "gzip") assertFalse(success);
    }
  });
}

Deno.test("compress: zstd without libzstd is frames that are read as one stream", async () => {
  for (const size of [0, 2 * BLOCK_BYTES.zstd, 2 * BLOCK_BYTES.zstd + 12345]) {
    const plain = sample(size);
    const [packed, other] = [1, 3].map((workers) =>
      made((fd) => compressing("zstd", fd, writing(plain), workers, false))
    );
    assert(isSame(packed, other));
    const { success, bytes } = await through("zstd", packed);
    assert(success && isSame(bytes, plain), `${size}`);
  }
});
