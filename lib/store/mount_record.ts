/**
 * How a layer's use is written down: in its lock file, as one write of fixed length.
 *
 * The record shows who made a mount. It is written before the mount is made, without a device
 * number, and again with the number of the mount's superblock: a mount of that number at that place
 * is Veneer's own, one of another number is another program's, and a record without a number was
 * left by a killed command.
 *
 * @module
 */
import { decode, encode } from "../../ffi/cstring.ts";
import { VeneerError } from "../base/errors.ts";

/**
 * One page: a process that is killed has written all of it or nothing. It takes a label of 255
 * bytes and a path of any usual length; a longer path is left out.
 */
export const RECORD_LENGTH = 4096;

/** The longest label, and id map as it is recorded, in bytes. */
const MAX_LABEL_LENGTH = 255, MAX_ID_MAP_LENGTH = 1000;

/** @throws {VeneerError} `invalid argument` for a label or id map that a record has no room for */
export function checkRecordable({ label, idMap }: Pick<References, "label" | "idMap">): void {
  const check = (what: string, text: string, most: number) => {
    const { length } = encode(text);
    if (length <= most) return;
    throw new VeneerError(
      "invalid argument",
      `the mount's ${what} has ${length} bytes, ${most} are allowed`,
    );
  };
  check("label", label, MAX_LABEL_LENGTH);
  check("id map", idMap, MAX_ID_MAP_LENGTH);
}

/** How often a layer is in use, and by which mount. */
export interface References {
  /** The number of users; 0 with a namespace for a mount that only transfers use. */
  readonly count: number;
  /**
   * The inode of its mount namespace, as in `/proc/self/ns/mnt`; `""` if its use needs no mount.
   */
  readonly namespace: string;
  /** Whether its users were promised a read-only mount. */
  readonly readOnly: boolean;
  /** The SELinux label that it was mounted with; `""` for none. */
  readonly label: string;
  /** Whether it was mounted so that nothing is synced. */
  readonly volatile: boolean;
  /** The maps by which it maps ids, of users and of groups; `""` for none. */
  readonly idMap: string;
  /**
   * The mount point by the path that the mounting process had; `""` if it is too long to be
   * recorded.
   */
  readonly target: string;
  /** `major:minor` that `statx` gives for the mount's root; `""` until it is mounted. */
  readonly device: string;
}

/** A layer without users. */
export const UNUSED: References = {
  count: 0,
  namespace: "",
  readOnly: false,
  label: "",
  volatile: false,
  idMap: "",
  target: "",
  device: "",
};

/** A record of {@linkcode RECORD_LENGTH} bytes. */
export function encodeReferences(references: References): Uint8Array<ArrayBuffer> {
  const record = new Uint8Array(RECORD_LENGTH).fill(" ".charCodeAt(0));
  record[RECORD_LENGTH - 1] = "\n".charCodeAt(0);
  const whole = encode(JSON.stringify(references));
  const text = whole.length < RECORD_LENGTH
    ? whole
    : encode(JSON.stringify({ ...references, target: "" }));
  record.set(text);
  return record;
}

/**
 * Reads a record; an invalid one counts as {@linkcode UNUSED}, so that its mount counts as another
 * program's.
 */
export function decodeReferences(record: Uint8Array | string): References {
  if (record.length === 0) return UNUSED; // As most are; an error of the parser takes long.
  let value: unknown;
  try {
    value = JSON.parse(typeof record === "string" ? record : decode(record));
  } catch {
    return UNUSED;
  }
  if (typeof value !== "object" || value === null) return UNUSED;
  const { count, namespace, readOnly, label, volatile, idMap = "", target, device } =
    value as Partial<
      Record<keyof References, unknown>
    >;
  const isText = (text: unknown, form: RegExp): text is string =>
    typeof text === "string" && form.test(text);
  const isWhole = Number.isSafeInteger(count) && (count as number) >= 0 &&
    isText(namespace, /^\d*$/) && isText(device, /^(\d+:\d+)?$/) &&
    isText(target, /^(\/|$)/) && isText(label, /^/) && isText(idMap, /^/);
  if (!isWhole) return UNUSED;
  return {
    count: count as number,
    namespace,
    readOnly: readOnly === true,
    label,
    volatile: volatile === true,
    idMap,
    target,
    device,
  };
}
