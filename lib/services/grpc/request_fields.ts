/**
 * The header fields of a request that have a meaning in gRPC (grpc/doc/PROTOCOL-HTTP2.md).
 *
 * @module
 */
import { GrpcError, NOT_COMPRESSED } from "./status.ts";

type Fields = ReadonlyMap<string, string>;

/** The HTTP status for a request that is not gRPC; `undefined` for a gRPC request. */
export function refusalOf(fields: Fields): string | undefined {
  if (fields.get(":method") !== "POST") return "405";
  const type = fields.get("content-type") ?? "";
  return /^application\/grpc(\+proto)?(;|$)/.test(type) ? undefined : "415";
}

/** @throws {GrpcError} if messages are compressed */
export function checkEncoding(fields: Fields): void {
  const encoding = fields.get("grpc-encoding") ?? "identity";
  if (encoding !== "identity") throw new GrpcError("UNIMPLEMENTED", NOT_COMPRESSED);
}

/** The milliseconds of each unit of a timeout. */
const UNITS: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1000,
  m: 1,
  u: 1 / 1000,
  n: 1 / 1_000_000,
};

/**
 * The time that the client waits for its answer, in milliseconds; `undefined` if it is unlimited.
 *
 * @throws {GrpcError} for an invalid timeout
 */
export function timeoutOf(fields: Fields): number | undefined {
  const text = fields.get("grpc-timeout");
  if (text === undefined) return undefined;
  const [, digits, unit] = /^(\d{1,8})([HMSmun])$/.exec(text) ?? [];
  if (unit === undefined) {
    throw new GrpcError("INTERNAL", `malformed grpc-timeout: ${JSON.stringify(text)}`);
  }
  return Number(digits) * UNITS[unit];
}
