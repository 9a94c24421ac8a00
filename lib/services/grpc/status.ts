/**
 * gRPC's status codes, and the code of each kind of error.
 *
 * @module
 */
import { codeOf, type ErrorCode, messageOf } from "../../base/errors.ts";

/** The codes that a server sends (grpc/doc/statuscodes.md). */
export const STATUS = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const;

export type StatusName = keyof typeof STATUS;

/**
 * The codes, chosen by their meaning for containerd's clients. `in use` must be
 * FAILED_PRECONDITION: with any other error of a removal, containerd ends the garbage collection of
 * the whole snapshotter.
 */
const STATUS_OF: Readonly<Record<ErrorCode, StatusName>> = {
  "failed": "INTERNAL",
  "usage": "INVALID_ARGUMENT",
  "not found": "NOT_FOUND",
  "already exists": "ALREADY_EXISTS",
  "in use": "FAILED_PRECONDITION",
  "not supported": "UNIMPLEMENTED",
  "invalid argument": "INVALID_ARGUMENT",
  "failed precondition": "FAILED_PRECONDITION",
  "incompatible": "FAILED_PRECONDITION",
  "corrupt store": "DATA_LOSS",
  "limit exceeded": "RESOURCE_EXHAUSTED",
};

/** An error with a gRPC status. */
export class GrpcError extends Error {
  constructor(readonly status: StatusName, message: string) {
    super(message);
  }
}

/** The message for a compressed request, whose answer has {@linkcode ACCEPTED_ENCODINGS}. */
export const NOT_COMPRESSED = "the request is compressed, which is not supported";

/** The field that lists the encodings that requests may have. */
export const ACCEPTED_ENCODINGS: readonly [string, string] = ["grpc-accept-encoding", "identity"];

/** The status of the answer for an error. */
export function statusOf(error: unknown): StatusName {
  return error instanceof GrpcError ? error.status : STATUS_OF[codeOf(error)];
}

/** The longest message, in UTF-16 units: with its escapes it must fit into a frame. */
const MAX_MESSAGE = 1024;

/**
 * The fields that end a call, with the message encoded for a header field
 * (grpc/doc/PROTOCOL-HTTP2.md).
 */
export function trailersOf(status: StatusName, message = ""): [string, string][] {
  const code: [string, string] = ["grpc-status", String(STATUS[status])];
  return message === "" ? [code] : [code, ["grpc-message", percentEncoded(message)]];
}

/** The message of an error for clients. */
export const shownMessage = (error: unknown): string => messageOf(error).slice(0, MAX_MESSAGE);

/** Encodes all characters except printable ASCII, and `%`. */
function percentEncoded(text: string): string {
  return text.toWellFormed().replaceAll(/[^ -$&-~]+/g, (odd) =>
    Array.from(
      new TextEncoder().encode(odd),
      (octet) => `%${octet.toString(16).toUpperCase().padStart(2, "0")}`,
    ).join(""));
}
