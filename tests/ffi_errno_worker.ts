/** Fails system calls in turn and counts the wrong error numbers; as a Worker, posts the count. */
import { EBADF, EEXIST, ENOENT, ENOTDIR } from "../ffi/errno.ts";
import { AT_FDCWD, O_CREAT, O_EXCL, O_RDONLY, tryOpenat, tryRead } from "../ffi/files.ts";
import { tryMkdirat } from "../ffi/tree.ts";

/** How many of 200,000 failing calls gave another error than theirs. */
export function hammer(): number {
  const buffer = new Uint8Array(1);
  const calls: [call: () => number, errno: number][] = [
    [() => tryOpenat(AT_FDCWD, "/nonexistent-veneer", O_RDONLY), ENOENT],
    [() => tryRead(-1, buffer), EBADF],
    [() => tryOpenat(AT_FDCWD, "/dev/null/x", O_RDONLY), ENOTDIR],
    [() => tryOpenat(AT_FDCWD, "/dev/null", O_RDONLY | O_CREAT | O_EXCL), EEXIST],
    [() => tryMkdirat(AT_FDCWD, "/dev", 0o700), EEXIST],
  ];
  let wrong = 0;
  let garbage: unknown[] = [];
  for (let i = 0; i < 200_000; i++) {
    const [call, errno] = calls[i % calls.length];
    if (call() !== -errno) wrong++;
    garbage.push({ i, text: `${i}` });
    if (garbage.length > 1000) garbage = [];
  }
  return wrong;
}

if ("WorkerGlobalScope" in globalThis) {
  (globalThis as unknown as { postMessage(data: number): void }).postMessage(hammer());
}
