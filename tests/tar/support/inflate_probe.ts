/**
 * Decompresses the file that it is called with, by the choice of the second argument, and prints the
 * plain bytes' CRC-32 and the libraries that were loaded for it.
 */
import { crc32 } from "node:zlib";
import { close, O_RDONLY, open, read } from "../../../ffi/files.ts";
import { parseInflater } from "../../../lib/base/inflater.ts";
import type { Compression } from "../../../lib/tar/read/compression.ts";
import { CHUNK, decompress } from "../../../lib/tar/read/decompression.ts";
import { WritingSink } from "../../../lib/tar/read/sink.ts";

const [path, choice] = Deno.args, compression: Compression = path.endsWith(".gz") ? "gzip" : "zstd";
const fd = open(path, O_RDONLY);
let sum = 0;
await decompress(
  compression,
  (memory) => read(fd, memory, memory.length),
  new WritingSink(new Uint8Array(CHUNK), (bytes) => sum = crc32(bytes, sum)),
  parseInflater(choice),
);
close(fd);
const maps = Deno.readTextFileSync("/proc/self/maps");
const loaded = ["libisal", "libzstd"].filter((name) => maps.includes(name));
console.log(sum, loaded.join(" "));
