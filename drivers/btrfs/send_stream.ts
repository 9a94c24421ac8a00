/**
 * The stream of `BTRFS_IOC_SEND`, read command by command.
 *
 * ```text
 * stream    "btrfs-stream\0", version u32, then commands up to END
 * command   length of the attributes u32, command u16, checksum u32, attributes
 * attribute type u16, length u16, value; in version 2, DATA has no length and goes to the command's end
 * ```
 *
 * Numbers are little-endian. Names and values are those of `fs/btrfs/send.h` of the kernel. The
 * checksum is not verified, because the stream comes directly from the kernel.
 *
 * @module
 */
import { decode } from "../../ffi/cstring.ts";
import { read } from "../../ffi/files.ts";
import { VeneerError } from "../../lib/base/errors.ts";

/** Commands by number. */
const COMMANDS = [
  undefined,
  "subvol",
  "snapshot",
  "mkfile",
  "mkdir",
  "mknod",
  "mkfifo",
  "mksock",
  "symlink",
  "rename",
  "link",
  "unlink",
  "rmdir",
  "set_xattr",
  "remove_xattr",
  "write",
  "clone",
  "truncate",
  "chmod",
  "chown",
  "utimes",
  "end",
  "update_extent",
  // Version 2.
  "fallocate",
  "fileattr",
  "encoded_write",
  // Version 3.
  "enable_verity",
] as const;

/** The name of a command. */
export type CommandName = Exclude<typeof COMMANDS[number], undefined>;

/** A command with its attributes. Paths are from the root, without a leading slash. */
export interface SendCommand {
  readonly name: CommandName;
  readonly path: string;
  /** Of a rename: the new path. */
  readonly to?: string;
  /** Of a link: a path that the inode has already; of a symbolic link: its target. */
  readonly link?: string;
}

const ATTRIBUTE_PATH = 15, ATTRIBUTE_PATH_TO = 16, ATTRIBUTE_PATH_LINK = 17, ATTRIBUTE_DATA = 19;

const MAGIC = "btrfs-stream\0";
const HEADER_LENGTH = MAGIC.length + 4;
const COMMAND_LENGTH = 10;
const NEWEST_VERSION = 3;

/**
 * The commands of a stream, up to the END command.
 *
 * @param fd a file or a pipe, which is read from its position
 * @param ensure called before each read; throws if the wait for the stream must end
 * @throws {SendStreamError}
 */
export function* readSendStream(fd: number, ensure = () => {}): Generator<SendCommand> {
  const stream = new StreamWindow(fd, ensure);
  const header = stream.take(HEADER_LENGTH);
  if (decode(header.subarray(0, MAGIC.length)) !== MAGIC) {
    throw malformed("its first bytes are wrong");
  }
  const version = u32(header, MAGIC.length);
  if (version < 1 || version > NEWEST_VERSION) throw malformed(`its version is ${version}`);
  for (;;) {
    const head = stream.take(COMMAND_LENGTH);
    const length = u32(head, 0), number = u16(head, 4);
    const name = COMMANDS[number];
    if (name === undefined) throw malformed(`command ${number} is unknown`);
    if (name === "end") return;
    yield { name, ...attributes(stream.take(length), version) };
  }
}

function attributes(bytes: Uint8Array, version: number): Omit<SendCommand, "name"> {
  let path = "", to: string | undefined, link: string | undefined;
  for (let at = 0; at < bytes.length;) {
    if (at + 4 > bytes.length) throw malformed("an attribute is cut short");
    const type = u16(bytes, at);
    const whole = type === ATTRIBUTE_DATA && version >= 2;
    const start = whole ? at + 2 : at + 4;
    const end = whole ? bytes.length : start + u16(bytes, at + 2);
    if (end > bytes.length) throw malformed("an attribute is longer than its command");
    const value = bytes.subarray(start, end);
    if (type === ATTRIBUTE_PATH) path = decode(value);
    else if (type === ATTRIBUTE_PATH_TO) to = decode(value);
    else if (type === ATTRIBUTE_PATH_LINK) link = decode(value);
    at = end;
  }
  return { path, to, link };
}

/** A file read forward; the result of {@linkcode take} is valid until its next call. */
class StreamWindow {
  #buffer = new Uint8Array(256 << 10);
  #start = 0;
  #end = 0;

  constructor(readonly fd: number, readonly ensure: () => void) {}

  take(length: number): Uint8Array {
    if (this.#end - this.#start < length) this.#fill(length);
    const start = this.#start;
    this.#start += length;
    return this.#buffer.subarray(start, this.#start);
  }

  #fill(length: number): void {
    const rest = this.#buffer.subarray(this.#start, this.#end);
    if (length > this.#buffer.length) {
      if (length > MAX_COMMAND) throw malformed(`a command has ${length} bytes`);
      const larger = new Uint8Array(length);
      larger.set(rest);
      this.#buffer = larger;
    } else {
      this.#buffer.copyWithin(0, this.#start, this.#end);
    }
    this.#end = rest.length;
    this.#start = 0;
    while (this.#end < length) {
      const free = this.#buffer.subarray(this.#end);
      this.ensure();
      const got = read(this.fd, free);
      if (got === 0) throw malformed("it is cut short");
      this.#end += got;
    }
  }
}

/** More than the kernel's own buffers: 64 KiB in version 1, a little over 144 KiB in version 2. */
const MAX_COMMAND = 16 << 20;

const u16 = (bytes: Uint8Array, at: number) => bytes[at] | bytes[at + 1] << 8;
const u32 = (bytes: Uint8Array, at: number) => (u16(bytes, at) | u16(bytes, at + 2) << 16) >>> 0;

/** The stream is missing or invalid: the trees have to be compared instead. */
export class SendStreamError extends VeneerError {
  constructor(why: string) {
    super("failed", `the kernel's send stream is unusable: ${why}`);
  }
}

const malformed = (why: string) => new SendStreamError(why);
