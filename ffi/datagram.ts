/**
 * Datagrams to Unix sockets (unix(7)): the runtime's own sockets cannot send to an abstract name.
 *
 * @module
 */
import { close } from "./files.ts";
import { E, sockets } from "./libc.ts";
import { layout, Struct } from "./struct.ts";
import { unwrap } from "./unwrap.ts";

// `bits/socket.h`, `bits/socket_type.h`.
const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0x80000;
const MSG_NOSIGNAL = 0x4000;

/** `struct sockaddr_un` of `linux/un.h`; `sun_path` takes what follows the family. */
export const SOCKADDR_UN = layout("struct sockaddr_un", 110, {
  sun_family: ["u16", 0],
  sun_path: ["u8", 2],
});

/** The offset of `sun_path`, in bytes. */
const [, pathOffset] = SOCKADDR_UN.fields.sun_path;

/**
 * Sends one datagram to a Unix socket.
 *
 * @param address its path; or an abstract name, which begins with `@` in place of the NUL
 * @throws {RangeError} if the address has no byte, or more than a socket's may have
 * @throws {SyscallError} if no process receives at the address
 */
export function sendDatagram(address: string, message: Uint8Array<ArrayBuffer>): void {
  const name = new TextEncoder().encode(address.replace(/^@/, "\0"));
  if (name.length === 0 || name.length > SOCKADDR_UN.size - pathOffset) {
    throw new RangeError(
      `the socket's address ${JSON.stringify(address)} has ${name.length} bytes`,
    );
  }
  const destination = new Struct(SOCKADDR_UN).set("sun_family", AF_UNIX);
  destination.bytes.set(name, pathOffset);
  const socket = sockets.socket(), sendto = sockets.sendto();
  const opened = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const fd = unwrap(opened < 0 ? -E[0] : opened, "socket");
  try {
    const size = pathOffset + name.length;
    const sent = sendto(fd, message, message.length, MSG_NOSIGNAL, destination.bytes, size);
    unwrap(sent < 0 ? -E[0] : sent, "sendto", address);
  } finally {
    close(fd);
  }
}
