/** Assertions about failures. */
import {
  assert,
  assertEquals,
  assertNotEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { type ErrorCode, VeneerError } from "../../lib/base/errors.ts";

/** Runs a call that must fail with a code and a message of one line; returns the error. */
export function assertFails(code: ErrorCode, call: () => unknown): VeneerError {
  const error = assertThrows(call, VeneerError);
  assertEquals(error.code, code, error.message);
  assertNotEquals(error.message, "");
  assert(!error.message.includes("\n"), "the message is one line");
  return error;
}

/** The same, with a part of the message; returns the message. */
export function refuses(code: ErrorCode, call: () => unknown, includes = ""): string {
  const { message } = assertFails(code, call);
  assertStringIncludes(message, includes);
  return message;
}
