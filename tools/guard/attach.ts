/**
 * Puts the guard (`guard.c`) into a compiled program, so that it runs before the runtime does.
 *
 *     attach.ts PROGRAM GUARD
 *
 * A compiled program is the runtime, an ELF file that ends with its section headers, and behind it the
 * program's own data, which the runtime finds from the end of the file. The guard goes between, as a page of
 * its own. The program header of the notes, which nothing needs, becomes the one that loads it, and the entry
 * point moves there. ELF-64: elf(5).
 *
 * @module
 */
const PT_LOAD = 1, PT_NOTE = 4;
const PF_X = 1, PF_R = 4;
const EM_AARCH64 = 183;
/** The largest page of a kernel, in bytes, by the machine: what is loaded must begin at one. */
const PAGE = { aarch64: 65536, x86_64: 4096 };
/** What `guard.c` has where the distance goes. */
const PLACEHOLDER = 0x7265656e65762121n;

// Offsets: `Elf64_Ehdr` and `Elf64_Phdr` of elf.h.
const E_MACHINE = 18, E_ENTRY = 24, E_PHOFF = 32, E_SHOFF = 40, E_PHENTSIZE = 54, E_PHNUM = 56;
const E_SHENTSIZE = 58, E_SHNUM = 60;
const P_TYPE = 0, P_FLAGS = 4, P_OFFSET = 8, P_VADDR = 16, P_PADDR = 24;
const P_FILESZ = 32, P_MEMSZ = 40, P_ALIGN = 48;

const [programPath, guardPath] = Deno.args;
const program = Deno.readFileSync(programPath);
const guard = Deno.readFileSync(guardPath);
Deno.writeFileSync(programPath, attach(program, guard));

function attach(program: Uint8Array<ArrayBuffer>, guard: Uint8Array): Uint8Array {
  const before = new DataView(program.buffer);
  const page = before.getUint16(E_MACHINE, true) === EM_AARCH64 ? PAGE.aarch64 : PAGE.x86_64;
  const end = runtimeLength(before);
  const offset = roundUp(end, page);
  const result = new Uint8Array(offset + guard.length + program.length - end);
  result.set(program.subarray(0, end));
  result.set(guard, offset);
  result.set(program.subarray(end), offset + guard.length);
  const view = new DataView(result.buffer);
  const big = (at: number) => view.getBigUint64(at, true);

  const headers = headersOf(view);
  const loads = headers.filter((at) => view.getUint32(at + P_TYPE, true) === PT_LOAD);
  const note = headers.findLast((at) => view.getUint32(at + P_TYPE, true) === PT_NOTE);
  if (note === undefined || loads.at(-1)! > note) throw new Error("no program header to give up");
  const top = loads.map((at) => big(at + P_VADDR) + big(at + P_MEMSZ))
    .reduce((a, b) => a > b ? a : b);
  const address = BigInt(roundUp(Number(top), page));

  view.setUint32(note + P_TYPE, PT_LOAD, true);
  view.setUint32(note + P_FLAGS, PF_R | PF_X, true);
  for (const field of [P_VADDR, P_PADDR]) view.setBigUint64(note + field, address, true);
  for (const field of [P_FILESZ, P_MEMSZ]) {
    view.setBigUint64(note + field, BigInt(guard.length), true);
  }
  view.setBigUint64(note + P_OFFSET, BigInt(offset), true);
  view.setBigUint64(note + P_ALIGN, BigInt(page), true);

  const place = placeholder(view, offset, guard.length);
  view.setBigUint64(place, BigInt.asUintN(64, big(E_ENTRY) - address), true);
  view.setBigUint64(E_ENTRY, address, true);
  return result;
}

/** The section headers are the runtime's last part. */
function runtimeLength(view: DataView): number {
  const size = view.getUint16(E_SHENTSIZE, true) * view.getUint16(E_SHNUM, true);
  return Number(view.getBigUint64(E_SHOFF, true)) + size;
}

/** Where the program headers are. */
function headersOf(view: DataView): number[] {
  const first = Number(view.getBigUint64(E_PHOFF, true));
  const size = view.getUint16(E_PHENTSIZE, true);
  return Array.from({ length: view.getUint16(E_PHNUM, true) }, (_, i) => first + i * size);
}

function placeholder(view: DataView, start: number, length: number): number {
  for (let at = start; at + 8 <= start + length; at += 8) {
    if (view.getBigUint64(at, true) === PLACEHOLDER) return at;
  }
  throw new Error("the guard has no place for the runtime's start");
}

function roundUp(size: number, page: number): number {
  return Math.ceil(size / page) * page;
}
