/**
 * The trees that are measured: made here, from a seed, so that every run has the same.
 *
 * @module
 */
import { join } from "@std/path";
import { run } from "./measure.ts";

/** A tree as a directory and as a tar of GNU tar's. */
export interface Corpus {
  readonly name: string;
  readonly directory: string;
  readonly tar: string;
}

/** What files hold: `noise` does not pack; `words` pack to a third, as programs do. */
type Content = "noise" | "words";

/** About 15,000 files and 500 MB: sizes and directories spread as in an operating system's image. */
export function makeBase(at: string, content: Content = "noise"): Corpus {
  const random = generator(1);
  return make(at, "15k files, 500 MB", function* () {
    for (let i = 0; i < 15_000; i++) {
      // Most files are small and most bytes are in a few: 10^(1..7), skewed.
      const size = Math.floor(10 ** (1 + 4.2 * random() ** 1.2)) + (i % 160 === 0 ? 4_000_000 : 0);
      yield [`usr/lib/d${i % 97}/e${i % 13}/file${i}`, size];
    }
  }, content);
}

/** 100,000 files of one kilobyte. */
export function makeMany(at: string): Corpus {
  return make(at, "100k x 1 KB", function* () {
    for (let i = 0; i < 100_000; i++) yield [`d${i % 100}/e${i % 1000}/f${i}`, 1024];
  });
}

/** What a small change to an image is: 50 files, 1 MB. */
export function makeDelta(at: string): Corpus {
  return make(at, "50 files, 1 MB", function* () {
    for (let i = 0; i < 50; i++) yield [`etc/app/f${i}`, 20_000];
  });
}

function make(
  at: string,
  name: string,
  files: () => Generator<[path: string, size: number]>,
  content: Content = "noise",
): Corpus {
  const directory = join(at, name.replaceAll(/[^a-z0-9]+/gi, "-"));
  const tar = `${directory}.tar`;
  const random = generator(2);
  const bytes = content === "noise"
    ? Uint8Array.from({ length: 1 << 20 }, () => random() * 256)
    : wordsOf(64 << 20, random);
  const made = new Set<string>();
  for (const [path, size] of files()) {
    const parent = join(directory, path, "..");
    if (!made.has(parent)) Deno.mkdirSync(parent, { recursive: true });
    made.add(parent);
    using file = Deno.openSync(join(directory, path), { write: true, create: true });
    // Words begin elsewhere in each file, so that no compressor finds one file in another.
    const first = content === "noise" ? 0 : Math.floor(random() * bytes.length);
    for (let left = size, at = first; left > 0;) {
      const piece = bytes.subarray(at, at + Math.min(left, 1 << 20));
      file.writeSync(piece);
      left -= piece.length;
      at = (at + piece.length) % bytes.length;
    }
  }
  run("tar", "-C", directory, "-cf", tar, ".");
  return { name, directory, tar };
}

/** Words of 32 letters, some of them far more common than others. */
function wordsOf(size: number, random: () => number): Uint8Array<ArrayBuffer> {
  const words = Array.from(
    { length: 4096 },
    () => Uint8Array.from({ length: 2 + Math.floor(random() * 10) }, () => random() * 32),
  );
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size;) {
    const word = words[Math.floor(words.length * random() ** 5)];
    bytes.set(word.subarray(0, size - at), at);
    at += word.length;
  }
  return bytes;
}

/** Numbers in [0, 1) that are the same every time (mulberry32). */
function generator(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
