import { assert, assertEquals } from "@std/assert";
import { EntrySet } from "../../lib/tar/apply/entry_set.ts";

const name = (text: string) => new TextEncoder().encode(`${text}\0`);

Deno.test("entry set: short names in directories of neighbouring inodes are told apart", () => {
  const letters = [..."abcdefghijklmnopqrstuvwxyz0123456789"].map(name);
  const set = new EntrySet();
  const FIRST = 2_490_000n, DIRECTORIES = 200n;
  for (let inode = FIRST; inode < FIRST + DIRECTORIES; inode += 2n) {
    letters.forEach((letter) => set.add(inode, letter));
  }
  let wrong = 0;
  for (let inode = FIRST + 1n; inode < FIRST + DIRECTORIES; inode += 2n) {
    wrong += letters.filter((letter) => set.has(inode, letter)).length;
  }
  assertEquals(wrong, 0);
});

Deno.test("entry set: what was added is found, also after it has grown", () => {
  const set = new EntrySet();
  for (let i = 0; i < 20_000; i++) set.add(7n, name(`file${i}`));
  for (let i = 0; i < 20_000; i++) assert(set.has(7n, name(`file${i}`)));
  for (let i = 20_000; i < 40_000; i++) assert(!set.has(7n, name(`file${i}`)));
});
