/**
 * The interpreter that a program names: the loader of an ELF program (elf(5)), or the program of a
 * script's first line (execve(2)). If the kernel does not find it, it reports the program itself as
 * missing.
 *
 * @module
 */
import { decode } from "../../ffi/cstring.ts";
import { O_NONBLOCK, O_RDONLY, tryOpen, tryRead, withFd } from "../../ffi/files.ts";

/** The bytes that are read: more than the kernel reads of a script, and linkers put loaders here. */
const MOST = 4096;

/** `PT_INTERP` of elf(5). */
const PT_INTERP = 3;

/** The size of a program header of elf(5), in bytes. */
const HEADER = 56;

/** The interpreter that a program names; `undefined` if it names none, or cannot be read. */
export function interpreterOf(program: string): string | undefined {
  const fd = tryOpen(program, O_RDONLY | O_NONBLOCK);
  if (fd < 0) return undefined;
  const bytes = new Uint8Array(MOST);
  const length = withFd(fd, () => tryRead(fd, bytes));
  return length < 0 ? undefined : namedIn(bytes.subarray(0, length));
}

/** The interpreter that a program's first bytes name. */
export function namedIn(bytes: Uint8Array<ArrayBuffer>): string | undefined {
  const [first] = decode(bytes).split("\n", 1);
  if (first.startsWith("#!")) return first.slice(2).trim().split(/[ \t\0]/)[0] || undefined;
  if (!first.startsWith("\x7fELF\x02\x01")) return undefined;
  try {
    return loaderIn(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  } catch (error) {
    if (error instanceof RangeError) return undefined; // It lies behind the first bytes.
    throw error;
  }
}

/** The loader of a 64-bit little-endian ELF program. Throws a RangeError at the end of the bytes. */
function loaderIn(elf: DataView<ArrayBuffer>): string | undefined {
  const headers = Number(elf.getBigUint64(32, true));
  const size = elf.getUint16(54, true), count = elf.getUint16(56, true);
  if (size < HEADER) return undefined;
  for (let i = 0; i < count; i++) {
    const at = headers + i * size;
    if (elf.getUint32(at, true) !== PT_INTERP) continue;
    const start = Number(elf.getBigUint64(at + 8, true));
    const length = Number(elf.getBigUint64(at + 32, true));
    const text = decode(new Uint8Array(elf.buffer, elf.byteOffset + start, length));
    return text.split("\0", 1)[0] || undefined;
  }
  return undefined;
}
