/**
 * Requests of the graph driver protocol: JSON texts, which are checked before they are used.
 *
 * The names of fields are those of Go's types, by which the protocol is defined. An empty list or
 * object may be `null` or missing.
 *
 * @module
 */
import { VeneerError } from "../../base/errors.ts";

/** `Init`: the first request of a daemon. */
export interface InitRequest {
  /** The directory for the driver's store. */
  readonly home: string;
  /** Each is `key=value`. */
  readonly options: readonly string[];
  /** Each is `CONTAINER:HOST:SIZE`. */
  readonly uidmap: readonly string[];
  readonly gidmap: readonly string[];
}

/** `Create` and `CreateReadWrite`. */
export interface CreateRequest {
  readonly id: string;
  /** `""` for a base layer. */
  readonly parent: string;
  readonly mountLabel: string | undefined;
  readonly storageOptions: ReadonlyMap<string, string>;
}

/** The fields of a request. */
export type Fields = Readonly<Record<string, unknown>>;

/**
 * Reads a request's body. An empty body has no fields.
 *
 * @throws {VeneerError} `invalid argument` if it is not a JSON object
 */
export function parseFields(body: Uint8Array): Fields {
  if (body.length === 0) return {};
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
  } catch {
    throw new VeneerError("invalid argument", "the request's body is not JSON");
  }
  if (isObject(value)) return value;
  throw new VeneerError("invalid argument", "the request's body is not an object of JSON");
}

/** @throws {VeneerError} `invalid argument`, like all readers of requests */
export function readInit(fields: Fields): InitRequest {
  const home = text(fields, "Home");
  if (!home.startsWith("/") || home.includes("\0")) {
    throw invalid("Home", "must be an absolute path");
  }
  return {
    home,
    options: texts(fields, "Opts"),
    uidmap: idMap(fields, "UIDMaps"),
    gidmap: idMap(fields, "GIDMaps"),
  };
}

export function readCreate(fields: Fields): CreateRequest {
  return {
    id: readId(fields),
    parent: text(fields, "Parent"),
    mountLabel: text(fields, "MountLabel") || undefined,
    storageOptions: textMap(fields, "StorageOpt"),
  };
}

/** The id of a layer. The store checks its form. */
export function readId(fields: Fields): string {
  const id = text(fields, "ID");
  if (id === "") throw invalid("ID", "is missing");
  return id;
}

/** A text field; `""` if it is missing. */
export function text(fields: Fields, name: string): string {
  const value = fields[name] ?? "";
  if (typeof value === "string") return value;
  throw invalid(name, "must be a string");
}

function texts(fields: Fields, name: string): string[] {
  const value = list(fields, name);
  if (value.every((item) => typeof item === "string")) return value;
  throw invalid(name, "must be a list of strings");
}

function textMap(fields: Fields, name: string): Map<string, string> {
  const value = fields[name] ?? {};
  const entries = isObject(value) ? Object.entries(value) : [["", undefined] as const];
  const isTexts = (entry: readonly [string, unknown]): entry is [string, string] =>
    typeof entry[1] === "string";
  if (entries.every(isTexts)) return new Map(entries);
  throw invalid(name, "must be an object of strings");
}

/** An id map with dockerd's names of fields, which differ from those in its documentation. */
function idMap(fields: Fields, name: string): string[] {
  return list(fields, name).map((range) => {
    const { container_id, host_id, size } = isObject(range) ? range : {} as Fields;
    const numbers = [container_id, host_id, size];
    if (numbers.every(Number.isSafeInteger)) return numbers.join(":");
    throw invalid(name, "must be a list of {container_id, host_id, size}");
  });
}

function list(fields: Fields, name: string): unknown[] {
  const value = fields[name] ?? [];
  if (Array.isArray(value)) return value;
  throw invalid(name, "must be a list");
}

function isObject(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const invalid = (name: string, rule: string) =>
  new VeneerError("invalid argument", `the request's field ${name} ${rule}`);
