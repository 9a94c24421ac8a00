/** Fails system calls in turn and counts the wrong error numbers; as a Worker, posts the count. */
import { EBADF, EEXIST, ENOENT, ENOTDIR } from "../../ffi/errno.ts";
import { O_CREAT, O_EXCL, O_RDONLY, tryOpen, tryRead } from "../../ffi/files.ts";
import { tryMkdir } from "../../ffi/paths.ts";

/** How many of 200,000 failing calls gave another error than theirs. */
export function hammer(): number {
  const buffer = new Uint8Array(1);
  const calls: [call: () => number, errno: number][] = [
    [() => tryOpen("/nonexistent-veneer", O_RDONLY), ENOENT],
    [() => tryRead(-1, buffer), EBADF],
    [() => tryOpen("/dev/null/x", O_RDONLY), ENOTDIR],
    [() => tryOpen("/dev/null", O_RDONLY | O_CREAT | O_EXCL), EEXIST],
    [() => tryMkdir("/dev", 0o700), EEXIST],
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
