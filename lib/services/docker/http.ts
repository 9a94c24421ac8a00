/**
 * The HTTP of the protocol: request bodies of limited length and time, and answers.
 *
 * @module
 */
import { codeOf, type ErrorCode, messageOf, VeneerError } from "../../base/errors.ts";
import { type Bytes, joined } from "../bytes.ts";

/** The longest body of JSON, in bytes. */
const MAX_BODY = 1 << 20;

/**
 * The bytes beyond it that are read and discarded. If the connection were closed while the client
 * still writes, its write could fail before it reads the answer.
 */
const MAX_DISCARDED = 4 << 20;

/** The longest time in which a body of JSON must arrive, in milliseconds. */
const BODY_TIME = 30_000;

/** The content type of answers. Daemons ignore it. */
const JSON_TYPE = "application/vnd.docker.plugins.v1.1+json";

/** The content type of an answer that is a tar. */
export const TAR_TYPE = "application/x-tar";

/** The HTTP statuses of errors. For every status except 200, a daemon shows the answer's text. */
const STATUS_OF: Readonly<Record<ErrorCode, number>> = {
  "failed": 500,
  "usage": 400,
  "not found": 404,
  "already exists": 409,
  "in use": 409,
  "not supported": 501,
  "invalid argument": 400,
  "failed precondition": 412,
  "incompatible": 412,
  "corrupt store": 500,
  "limit exceeded": 507,
};

/** An error in the form of a request. */
export class HttpError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly headers: Readonly<Record<string, string>> = {},
  ) {
    super(message);
  }
}

/** An answer whose JSON is given in parts. */
export function answer(parts: readonly Bytes[]): Response {
  return new Response(joined(parts), { headers: { "content-type": JSON_TYPE } });
}

/** An answer with a value. */
export function answerValue(value: unknown): Response {
  return Response.json(value, { headers: { "content-type": JSON_TYPE } });
}

/** The answer to a request that failed. */
export function answerError(error: unknown): Response {
  const isHttp = error instanceof HttpError;
  return Response.json({ Err: messageOf(error) }, {
    status: isHttp ? error.status : STATUS_OF[codeOf(error)],
    headers: { "content-type": JSON_TYPE, ...isHttp ? error.headers : {} },
  });
}

/**
 * Reads a body of JSON.
 *
 * @throws {HttpError} if the body is too long or too slow; the rest of a much longer one is not
 * read
 * @throws {VeneerError} `failed` if the client closes the connection
 */
export async function readBody(request: Request): Promise<Uint8Array> {
  const announced = Number(request.headers.get("content-length") ?? 0);
  if (announced > MAX_BODY + MAX_DISCARDED) throw tooLong();
  if (request.body === null) return new Uint8Array();
  const reader = request.body.getReader();
  let parts: Bytes[] = [];
  let length = 0;
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    void reader.cancel().catch(() => {});
  }, BODY_TIME);
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (isLate) throw new HttpError(408, "the request's body took too long", CLOSE);
      if (done && length <= MAX_BODY) return joined(parts);
      if (done || length > MAX_BODY + MAX_DISCARDED) throw tooLong();
      length += value.length;
      if (length > MAX_BODY) parts = [];
      else parts.push(value);
    }
  } catch (error) {
    void reader.cancel().catch(() => {});
    if (error instanceof HttpError) throw error;
    throw new VeneerError("failed", `the request's body was not read: ${messageOf(error)}`);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * The rest of a body that was not read is not a request, so the connection cannot be used again.
 */
const CLOSE = { connection: "close" };

const tooLong = () =>
  new HttpError(413, `the request's body is longer than ${MAX_BODY} bytes`, CLOSE);
