/**
 * Reads small records for a check: their text, or their fault. Each kind of damage has its own
 * word, since power failures, editors and attackers leave different kinds.
 *
 * @module
 */
import { decode } from "../../ffi/cstring.ts";
import type { EntryName } from "../../ffi/entry_name.ts";
import {
  EACCES,
  EISDIR,
  ELOOP,
  ENODEV,
  ENOENT,
  ENOTDIR,
  ENXIO,
  errnoName,
} from "../../ffi/errno.ts";
import { O_NONBLOCK, O_RDONLY, tryOpenat, tryRead, withFd } from "../../ffi/files.ts";
import { Stat, tryFstat, tryStatat } from "../../ffi/stat.ts";
import { type ConfinedPath, tryInParent } from "../tree/confined.ts";

/** The faults of a record that show before its content is parsed. */
export type RecordFault =
  | "missing"
  | "empty"
  | "zeroed"
  | "too-long"
  | "not-a-file"
  | "owner"
  | "unreadable";

/** A fault, and a clause about it whose subject is the file. */
export interface Fault {
  readonly fault: RecordFault;
  readonly what: string;
  readonly text?: undefined;
}

/** A record's text without a newline at its end, or its fault. */
export type RecordText =
  | { readonly text: string; readonly fault?: undefined; readonly what?: undefined }
  | Fault;

/** How a record is read. */
export interface RecordOptions {
  /** The most bytes that it may have. */
  readonly most?: number;
  /** Whether an empty one is valid. */
  readonly mayBeEmpty?: boolean;
}

/** The most bytes of a record by default: far more than the ids of the longest chain. */
const MOST = 1 << 20;

const stat = new Stat();
const buffer = new Uint8Array(4096);

/** Reads a record by its path. */
export function readRecord(path: ConfinedPath, options?: RecordOptions): RecordText {
  const result = tryInParent(path, (directory, name) => readRecordAt(directory, name, options));
  return typeof result === "number" ? openFault(result) : result;
}

/** Reads a record in an open directory. */
export function readRecordAt(
  directory: number,
  name: EntryName,
  { most = MOST, mayBeEmpty = false }: RecordOptions = {},
): RecordText {
  // A fifo, a socket or a device is not opened: the call could block, or have an effect.
  const found = tryStatat(directory, name, stat);
  if (found < 0) return openFault(found);
  if (!stat.isFile) return { fault: "not-a-file", what: `is ${typeWords(stat)}` };
  const fd = tryOpenat(directory, name, O_RDONLY | O_NONBLOCK);
  if (fd < 0) return openFault(fd);
  return withFd(fd, () => {
    const result = tryFstat(fd, stat);
    if (result < 0) return openFault(result);
    if (!stat.isFile) return { fault: "not-a-file", what: `is ${typeWords(stat)}` };
    const { size, uid, mode } = stat;
    if (size > most) {
      return { fault: "too-long", what: `has ${size} bytes, and such a record at most ${most}` };
    }
    const owner = ownerFault(uid, mode);
    if (owner !== undefined) return owner;
    if (size === 0) {
      return mayBeEmpty ? { text: "" } : { fault: "empty", what: "is empty" };
    }
    return textOf(fd, size);
  });
}

function ownerFault(uid: number, mode: number): Fault | undefined {
  if (uid !== 0) return { fault: "owner", what: `belongs to user ${uid}, not to root` };
  if ((mode & 0o022) === 0) return undefined;
  const bits = (mode & 0o7777).toString(8).padStart(4, "0");
  return { fault: "owner", what: `has mode ${bits}, so others can change it` };
}

/** The text of a file of a size. If the file shrinks meanwhile, the text is shorter. */
function textOf(fd: number, size: number): RecordText {
  const bytes = size <= buffer.length ? buffer.subarray(0, size) : new Uint8Array(size);
  let length = 0;
  while (length < size) {
    const got = tryRead(fd, bytes.subarray(length));
    if (got < 0) return openFault(got);
    if (got === 0) break;
    length += got;
  }
  const read = bytes.subarray(0, length);
  if (read.every((byte) => byte === 0)) {
    return { fault: "zeroed", what: `holds nothing but ${length} zero bytes` };
  }
  return { text: decode(read.slice()).replace(/\n$/, "") };
}

/** The fault of a record that opening it shows: of a negated error number. */
export function openFault(result: number): Fault {
  switch (-result) {
    case ENOENT:
      return { fault: "missing", what: "is missing" };
    case ENOTDIR:
      return { fault: "missing", what: "lies in something that is not a directory" };
    case ELOOP:
      return { fault: "not-a-file", what: "is a symbolic link" };
    case EISDIR:
      return { fault: "not-a-file", what: "is a directory" };
    case ENXIO:
    case ENODEV:
      return { fault: "not-a-file", what: "is a socket or a device" };
    case EACCES:
    default:
      return { fault: "unreadable", what: `cannot be read (${errnoName(-result)})` };
  }
}

/** Words for the type of an entry that should have another type. */
export function typeWords({ isDirectory, isSymlink, isDevice, isFile, mode }: Stat): string {
  if (isDirectory) return "a directory";
  if (isSymlink) return "a symbolic link";
  if (isDevice) return "a device";
  if (isFile) return "a file";
  return (mode & 0o170000) === 0o010000 ? "a fifo" : "a socket";
}

/** The text of a damaged record, for a message. */
export const quote = (text: string): string =>
  JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
