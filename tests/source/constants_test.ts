/**
 * Numbers of the kernel's interfaces stand in `ffi/` alone, where a test holds them against the headers: no other
 * file defines one again, or compares an error with a bare number.
 */
import { assertEquals } from "@std/assert";
import { errnoEntries } from "../../ffi/errno.ts";
import { type Source, sources } from "./sources.ts";

/** Names that headers of the kernel and of the C library give. */
const FAMILIES =
  /^(AT|DT|LOCK|MNT|MOUNT_ATTR|MS|O|PIPE|RENAME|RESOLVE|RLIMIT|SEEK|ST|STATX|UMOUNT)_|^S_I[A-Z]+$/;

/** An error's number, or a failed call's result, beside a number. */
const BARE_ERROR = /\berrno [=!]== -?\d+|[=!]== -(?!1\b)\d+/g;

/** The names of the constants that a file defines. */
function constantsOf({ text }: Source): string[] {
  return [...text.matchAll(/\bconst ([A-Z][^;]*);/g)].flatMap(([, definitions]) =>
    [...definitions.matchAll(/(?:^|,)\s*([A-Z][A-Z0-9_]+)(?=:| =)/g)].map(([, name]) => name)
  );
}

/** What files define again of `known` names or of the headers' own, or compare with a bare number. */
function bare(files: readonly Source[], known: ReadonlySet<string>): string[] {
  const isKernels = (name: string) => known.has(name) || FAMILIES.test(name);
  return files.flatMap((file) => [
    ...constantsOf(file).filter(isKernels).map((name) => `${file.path} defines ${name}`),
    ...[...file.text.matchAll(BARE_ERROR)].map(([text]) => `${file.path}: ${text}`),
  ]);
}

Deno.test("constants: those of ffi/ are defined in ffi/ alone", () => {
  const exported = sources("ffi").map((file) => ({
    ...file,
    text: [...file.text.matchAll(/^export const [^;]*;/gm)].join("\n"),
  }));
  const known = [...exported.flatMap(constantsOf), ...[...errnoEntries()].map(([name]) => name)];
  assertEquals(bare(sources("lib", "drivers"), new Set(known)), []);
});

Deno.test("constants: one that is defined again is found, and an error's bare number", () => {
  const text = `
    const MNT_DETACH = 2;
    export const A = 1, S_IWOTH = 0o002;
    const EINTR: number = 4, MINE = 5;
    if (error.errno === 17 || result !== -2 || found === -1) return;
  `;
  assertEquals(bare([{ path: "lib/a.ts", text }], new Set(["EINTR"])), [
    "lib/a.ts defines MNT_DETACH",
    "lib/a.ts defines S_IWOTH",
    "lib/a.ts defines EINTR",
    "lib/a.ts: errno === 17",
    "lib/a.ts: !== -2",
  ]);
});
