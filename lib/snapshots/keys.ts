/**
 * The rules of a snapshot's key or name, and of its labels. These are only in the database: a
 * driver that needs a file name uses a hash of the key.
 *
 * @module
 */
import { encode } from "../../ffi/cstring.ts";
import { VeneerError } from "../base/errors.ts";
import { escapeControls } from "../base/printable.ts";
import type { Labels } from "./snapshotter.ts";

/** The longest key in bytes of UTF-8, the same as the longest path. */
const MAX_KEY = 4096;

/** The most bytes of UTF-8 of a label's key and value together: containerd's limit. */
const MAX_LABEL = 4096;

/**
 * The label with the chain id of the image layer that an engine unpacks into a snapshot. With it an
 * engine also asks whether the layer already exists.
 */
export const REFERENCE = "containerd.io/snapshot.ref";

/**
 * The most bytes of UTF-8 of all labels of a snapshot together. Clients accept messages of 16 MiB.
 */
const MAX_LABELS = 1 << 20;

/**
 * @param what the kind of the text, for the message, such as `"parent"`
 * @throws {VeneerError} `invalid argument` with the rule that a text breaks
 */
export function checkKey(text: string, what = "snapshot"): void {
  const problem = text === "" ? "it is empty" : problemOf(text) ?? lengthProblem(text);
  if (problem !== undefined) {
    throw new VeneerError("invalid argument", `${what} ${shown(text)}: ${problem}`);
  }
}

/**
 * Checks labels; returns them without those that have an empty value. An empty value removes a
 * label, so that callers that can only set labels can remove them as well.
 *
 * @throws {VeneerError} `invalid argument` with the rule that a label breaks
 */
export function checkLabels(labels: Labels | undefined): Labels {
  const kept = new Map<string, string>();
  for (const [key, value] of labels ?? []) {
    const problem = key === ""
      ? "its key is empty"
      : problemOf(key) ?? problemOf(value) ?? sizeProblem(key, value);
    if (problem !== undefined) {
      throw new VeneerError("invalid argument", `label ${shown(key)}: ${problem}`);
    }
    if (value !== "") kept.set(key, value);
  }
  return checkTotal(kept);
}

/** @throws {VeneerError} `invalid argument` if the labels are too long together */
function checkTotal(labels: Labels): Labels {
  let size = 0;
  for (const [key, value] of labels) size += encode(key).length + encode(value).length;
  if (size <= MAX_LABELS) return labels;
  throw new VeneerError(
    "invalid argument",
    `the labels of a snapshot have ${size} bytes together, ${MAX_LABELS} are allowed`,
  );
}

/** A key for messages: in quotes, and shortened if it is long. */
export function shown(text: string): string {
  return escapeControls(JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text));
}

function problemOf(text: string): string | undefined {
  if (text.includes("\0")) return "it has a NUL";
  return text.isWellFormed()
    ? undefined
    : "it has half a surrogate pair, which UTF-8 cannot encode";
}

function lengthProblem(text: string): string | undefined {
  const { length } = encode(text);
  return length <= MAX_KEY ? undefined : `it has ${length} bytes, ${MAX_KEY} are allowed`;
}

function sizeProblem(key: string, value: string): string | undefined {
  const size = encode(key).length + encode(value).length;
  return size <= MAX_LABEL
    ? undefined
    : `key and value have ${size} bytes, ${MAX_LABEL} are allowed`;
}

/**
 * The prefix of a field for one label. The rest of the field is the label's key, without quotes.
 */
const LABEL_FIELD = "labels.";

/** @throws {VeneerError} `invalid argument` for a field that cannot be changed */
export function checkField(field: string): void {
  if (field === "labels" || field.startsWith(LABEL_FIELD)) return;
  throw new VeneerError(
    "invalid argument",
    `field ${shown(field)}: only labels, or labels.KEY, can be changed`,
  );
}

/**
 * A snapshot's labels after an update of some fields; of all labels if no field is given.
 *
 * @throws {VeneerError} `invalid argument` if they become too long together
 */
export function relabelled(old: Labels, given: Labels, fields: readonly string[]): Labels {
  if (fields.length === 0 || fields.includes("labels")) return given;
  const labels = new Map(old);
  for (const field of fields) {
    const key = field.slice(LABEL_FIELD.length);
    const value = given.get(key);
    if (value === undefined) labels.delete(key);
    else labels.set(key, value);
  }
  return checkTotal(labels);
}
