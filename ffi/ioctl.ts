/**
 * ioctl numbers, and the call.
 *
 * @module
 */
import { control, E } from "./libc.ts";
import { calls } from "./trace.ts";
import { unwrap } from "./unwrap.ts";

// Direction, type, number and size of the argument, packed as `asm-generic/ioctl.h` does it.
const encode = (
  direction: number,
  type: number,
  number: number,
  size: number,
): bigint =>
  BigInt(direction) << 30n | BigInt(size) << 16n | BigInt(type) << 8n |
  BigInt(number);

/** `_IO(type, number)`: no argument. */
export const io = (type: number, number: number): bigint => encode(0, type, number, 0);
/** `_IOW`: the argument, of `size` bytes, is read by the kernel. */
export const iow = (type: number, number: number, size: number): bigint =>
  encode(1, type, number, size);
/** `_IOR`: the argument is written by the kernel. */
export const ior = (type: number, number: number, size: number): bigint =>
  encode(2, type, number, size);
/** `_IOWR`: both. */
export const iowr = (type: number, number: number, size: number): bigint =>
  encode(3, type, number, size);

/**
 * `ioctl(2)`, raw: its result, or `-errno`.
 *
 * @param argument a structure's bytes, or an integer passed by value
 */
export function tryIoctl(
  fd: number,
  request: bigint,
  argument: Uint8Array<ArrayBuffer> | number,
): number {
  if (typeof argument === "number") {
    const result = control.ioctlNumber()(fd, request, argument);
    return result < 0 ? -E[0] : result;
  }
  const result = control.ioctl()(fd, request, argument);
  return result < 0 ? -E[0] : result;
}

/**
 * `ioctl(2)`.
 *
 * @param name the request's name in its header, for messages
 * @param path the path of `fd`, for messages
 * @throws {SyscallError}
 */
export function ioctl(
  fd: number,
  request: bigint,
  argument: Uint8Array<ArrayBuffer> | number,
  name: string,
  path?: string,
): number {
  calls.tell?.(`ioctl ${name}${path === undefined ? "" : ` ${path}`}`);
  return unwrap(tryIoctl(fd, request, argument), `ioctl ${name}`, path);
}
