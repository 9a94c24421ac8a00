/**
 * Writing to an output that may be anything: a file, a pipe, or a descriptor that does not block.
 *
 * @module
 */
import { EAGAIN } from "../../ffi/errno.ts";
import { tryWrite } from "../../ffi/files.ts";
import { waitWritable } from "../../ffi/poll.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { openFileName } from "./open_files.ts";

/**
 * Writes all bytes, and waits where a descriptor that does not block takes none.
 *
 * @throws {SyscallError} that names the output
 */
export function putAll(output: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) {
    const put = tryWrite(output, at === 0 ? bytes : bytes.subarray(at));
    if (put === -EAGAIN) waitWritable(output);
    else if (put < 0) unwrap(put, "write", openFileName(output) ?? "to the output");
    else at += put;
  }
}
