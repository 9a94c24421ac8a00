/**
 * Gzip by ISA-L gives what the runtime's own decompressor gives, byte for byte or as an error. Without
 * the library, or with one that is not trusted, the runtime does it.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { crc32, gunzipSync, gzipSync, zstdCompressSync } from "node:zlib";
import { DeflateStream, HEADROOM } from "../../ffi/isal.ts";
import { CHUNK, decompress } from "../../lib/tar/read/decompression.ts";
import { WritingSink } from "../../lib/tar/read/sink.ts";
import { GzipMembers } from "../../lib/tar/read/gzip_members.ts";
import type { Inflater } from "../../lib/base/inflater.ts";
import { IS_LONG, needs, tempDir } from "../support/cases.ts";
import { anyStream, header, member, Numbers } from "./support/gzip_streams.ts";
import { bytes, concat } from "./support/tar_builder.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const STREAMS = IS_LONG ? 100_000 : 2000;
const memory = { input: new Uint8Array(HEADROOM + 4096), output: new Uint8Array(5000) };
const deflate = DeflateStream.open(memory.input, memory.output);
const lacking = deflate === undefined ? "libisal.so.2" : undefined;

/** A function that reads some bytes, at most `most` at a time. */
function reader(data: Bytes, most: number): (memory: Bytes) => number {
  let at = 0;
  return (memory) => {
    const part = data.subarray(at, at + Math.min(most, memory.length));
    memory.set(part);
    at += part.length;
    return part.length;
  };
}

/** The plain bytes' size and sum, or an error's words. */
function verdict(run: (write: (bytes: Uint8Array) => void) => void): string {
  let sum = 0, size = 0;
  try {
    run((part) => {
      sum = crc32(part, sum);
      size += part.length;
    });
    return `${size} bytes ${sum}`;
  } catch (error) {
    return `error: ${(error as Error).message}`;
  }
}

/** Reasons of the runtime's for codes that leave bits without a meaning: see `gzip_members.ts`. */
const INCOMPLETE = /^error: invalid (literal\/lengths|distances|code lengths) set$/;

/** Whether both give the same bytes or both an error; or there is an incomplete code. */
function agree(found: string, expected: string): boolean {
  const isError = found.startsWith("error");
  if (isError !== expected.startsWith("error")) return !isError && INCOMPLETE.test(expected);
  return isError || found === expected;
}

const byIsal = (data: Bytes, most: number) =>
  verdict((write) => {
    const sink = new WritingSink(memory.output, write);
    new GzipMembers(deflate!, memory.input, reader(data, most), sink).run();
  });

const byRuntime = (data: Bytes) => verdict((write) => write(gunzipSync(data)));

/** The words of an error, or the plain bytes. */
async function words(data: Bytes, inflater: Inflater): Promise<string> {
  let text = "";
  try {
    const write = (part: Bytes) => void (text += new TextDecoder().decode(part));
    await decompress(
      "gzip",
      reader(data, data.length),
      new WritingSink(new Uint8Array(CHUNK), write),
      inflater,
    );
    return text;
  } catch (error) {
    return (error as Error).message;
  }
}

const A = member(bytes("aaa")), B = member(bytes("bbb"));
const zeros = (count: number) => new Uint8Array(count);
const CASES: readonly [what: string, data: Bytes, expected: string][] = [
  ["one member", A, "aaa"],
  ["two members", concat([A, B]), "aaabbb"],
  ["a zero behind a member", concat([A, zeros(1)]), "aaa"],
  ["many zeros", concat([A, zeros(300_000)]), "aaa"],
  ["a member behind a zero", concat([A, zeros(1), B]), "aaa"],
  ["text behind a zero", concat([A, bytes("\0x")]), "aaa"],
  ["a letter behind a member", concat([A, bytes("x")]), "unexpected end of file"],
  ["text behind a member", concat([A, bytes("xyz")]), "incorrect header check"],
  ["half a magic", concat([A, bytes("\x1f")]), "unexpected end of file"],
  ["a second member that is cut", concat([A, B.subarray(0, -1)]), "unexpected end of file"],
  ["another method", concat([bytes("\x1f\x8b\x07\0"), zeros(9)]), "unknown compression method"],
  ["an unknown flag", concat([bytes("\x1f\x8b\x08\x20"), zeros(9)]), "unknown header flags set"],
  ["all fields", member(bytes("abc"), header(31)), "abc"],
  ["a long field", member(bytes("abc"), header(6, zeros(60_000))), "abc"],
  ["a wrong sum", A.with(A.length - 8, A.at(-8)! ^ 1), "incorrect data check"],
  ["a wrong size", A.with(A.length - 1, 1), "incorrect length check"],
  ["a wrong header sum", member(bytes("a"), header(2).with(4, 9)), "header crc mismatch"],
  ["a block of an unknown type", concat([header(0), bytes("\x07")]), "invalid block type"],
];

for (const [what, data, expected] of CASES) {
  Deno.test(`gzip: ${what}`, async () => {
    assertEquals(await words(data, "runtime"), expected);
    const found = await words(data, "auto");
    // The library names faults of its own kind.
    assertEquals(found.replace(/^invalid block$/, "invalid block type"), expected);
  });
}

needs(lacking, "gzip: streams cut at each byte, in pieces of every size", () => {
  const text = bytes("a line and a line and another line, ".repeat(9));
  const whole = concat([member(text, header(31)), member(text), zeros(2)]);
  for (let length = 1; length <= whole.length; length++) {
    const data = whole.slice(0, length), expected = byRuntime(data);
    for (const most of [1, 2, 7, 64, 4096]) {
      const found = byIsal(data, most);
      assert(agree(found, expected), `${length} bytes, ${most} at a time: ${found}, ${expected}`);
    }
  }
});

needs(lacking, `gzip: ${STREAMS} streams, mutated or cut, as the runtime takes them`, () => {
  const seed = Number(Deno.env.get("VENEER_TEST_SEED") ?? 1), numbers = new Numbers(seed);
  const counts = { whole: 0, error: 0, incomplete: 0 };
  for (let i = 0; i < STREAMS; i++) {
    const data = anyStream(numbers);
    if (data.length === 0) continue;
    const expected = byRuntime(data);
    const most = numbers.among(data.length > 300 ? [4096, 1000, 300] : [4096, 1, 7]);
    const found = byIsal(data, most), isError = expected.startsWith("error");
    const what = `stream ${i} of seed ${seed}, ${most} at a time`;
    assert(agree(found, expected), `${what}: ${found}, ${expected}`);
    counts[!isError ? "whole" : found.startsWith("error") ? "error" : "incomplete"]++;
  }
  assert(deflate!.isContained, "the library wrote behind its state");
  assert(counts.whole > STREAMS / 20 && counts.error > STREAMS / 3, JSON.stringify(counts));
  assert(counts.incomplete < STREAMS / 200, JSON.stringify(counts));
  console.log(`seed ${seed}: ${JSON.stringify(counts)}`);
});

/** Runs the probe, with some files hidden from it. */
function probe(path: string, choice: Inflater, hidden: readonly string[] = []): string {
  const script = new URL("support/inflate_probe.ts", import.meta.url).pathname;
  const hide = hidden.map((file) => `mount --bind /dev/null '${file}' && `).join("");
  const { stdout, stderr } = new Deno.Command("unshare", {
    args: ["--mount", "sh", "-c", `${hide} exec "$@"`, "sh"].concat(
      [Deno.execPath(), "run", "--quiet", "--allow-all", "--no-check", script, path, choice],
    ),
  }).outputSync();
  return new TextDecoder().decode(stdout).trim() || new TextDecoder().decode(stderr);
}

/** The files of a library that the loader would find. */
function filesOf(library: string): string[] {
  const { stdout } = new Deno.Command("ldconfig", { args: ["-p"] }).outputSync();
  const lines = new TextDecoder().decode(stdout).split("\n");
  return lines.filter((line) => line.trim().startsWith(`${library} `))
    .map((line) => Deno.realPathSync(line.split(" => ")[1]));
}

for (
  const [kind, library, soname, pack] of [
    ["gz", "libisal", "libisal.so.2", gzipSync],
    ["zst", "libzstd", "libzstd.so.1", zstdCompressSync],
  ] as const
) {
  const files = filesOf(soname);
  needs(
    files.length > 0 ? undefined : soname,
    `decompress: ${soname} is used if it can be, and not for inflate=runtime`,
    () => {
      using dir = tempDir();
      const path = `${dir.path}/data.${kind}`, plain = new Numbers(2).bytes(1_000_000);
      Deno.writeFileSync(path, new Uint8Array(pack(plain)));
      const sum = crc32(plain);
      assertEquals(probe(path, "auto"), `${sum} ${library}`);
      assertEquals(probe(path, "runtime"), `${sum}`);
      assertEquals(probe(path, "auto", files), `${sum}`);
    },
  );
}
