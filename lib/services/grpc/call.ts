/**
 * gRPC over an HTTP/2 connection: finds the method of a request, collects its message, and answers
 * with messages and a status (grpc/doc/PROTOCOL-HTTP2.md).
 *
 * Every request has one message; an answer has one, or several for a stream.
 *
 * @module
 */
import type { Bytes } from "../bytes.ts";
import type { Field } from "../http2/hpack.ts";
import type { Stream, StreamHandler } from "../http2/stream.ts";
import type { Budget } from "./budget.ts";
import { framed, RequestReader } from "./message.ts";
import { checkEncoding, refusalOf, timeoutOf } from "./request_fields.ts";
import {
  ACCEPTED_ENCODINGS,
  GrpcError,
  shownMessage,
  type StatusName,
  statusOf,
  trailersOf,
} from "./status.ts";

/** A running call. */
export interface Running {
  /** Its subject, for the log. */
  readonly subject: Readonly<Record<string, string>>;
  /** Resolves when the answer is complete; `undefined` if it is already complete. */
  readonly done: Promise<void> | undefined;
  /** To be called if the client no longer waits for the answer. */
  cancel(): void;
}

/**
 * Begins a call. If it throws, or if `done` rejects, the error becomes the status.
 *
 * @param emit sends a message of the answer
 * @param client identifies the caller: the same object in all calls of a connection
 */
export type Method = (request: Bytes, emit: (message: Bytes) => void, client: object) => Running;

/** The methods of each service, by their full names. */
export type Services = ReadonlyMap<string, ReadonlyMap<string, Method>>;

/** The result of a call, for the log. */
export interface CallRecord {
  /** The method's name, or the request's path if there is no such method. */
  readonly method: string;
  readonly subject: Readonly<Record<string, string>>;
  readonly status: StatusName;
  /** The error's message; `""` if there was no error. */
  readonly message: string;
  readonly milliseconds: number;
}

/** The parts of a server that calls use. */
export interface GrpcContext {
  readonly services: Services;
  readonly budget: Budget;
  /** Whether another message of an answer may wait for this client. */
  readonly mayAnswer: () => boolean;
  /** Whether the service is about to end, so that it begins no more calls. */
  readonly isEnding: () => boolean;
  /** Gets every call that has ended. */
  readonly onEnd: (record: CallRecord) => void;
}

/** The longest time of a timer, in milliseconds. */
const MAX_TIMER = 2 ** 31 - 1;

const ANSWER: readonly Field[] = [
  [":status", "200"],
  ["content-type", "application/grpc"],
  ACCEPTED_ENCODINGS,
];

/** The trailers of an answer without an error. */
const SUCCESS: readonly Field[] = trailersOf("OK");

/** Answers one request. */
export class GrpcCall implements StreamHandler {
  readonly #stream: Stream;
  readonly #context: GrpcContext;
  readonly #request: RequestReader;
  readonly #started = performance.now();
  #method: Method | undefined;
  #name: string;
  #running: Running | undefined;
  #deadline: ReturnType<typeof setTimeout> | undefined;
  /** Whether the answer's header fields were sent. */
  #begun = false;
  #ended = false;

  constructor(stream: Stream, context: GrpcContext) {
    this.#stream = stream;
    this.#context = context;
    this.#request = new RequestReader(context.budget);
    this.#name = stream.headers.get(":path")!;
    const refusal = refusalOf(stream.headers);
    if (refusal !== undefined) {
      this.#record("UNKNOWN", `HTTP status ${refusal}`);
      stream.respond([[":status", refusal]], true);
      return;
    }
    this.#guard(() => {
      this.#method = this.#find(this.#name);
      checkEncoding(stream.headers);
      this.#setDeadline(timeoutOf(stream.headers));
    });
  }

  /** Cancels the call after a time, as if the client had cancelled it. */
  #setDeadline(time: number | undefined): void {
    if (time === undefined || time > MAX_TIMER) return;
    const error = new GrpcError("DEADLINE_EXCEEDED", "the time that the client gave is over");
    if (time < 1) throw error;
    this.#deadline = setTimeout(() => this.#fail(error), time);
  }

  #find(path: string): Method {
    const [, service, name] = /^\/([^/]+)\/([^/]+)$/.exec(path) ?? [];
    const methods = this.#context.services.get(service);
    if (methods === undefined) {
      throw new GrpcError("UNIMPLEMENTED", `unknown service ${service ?? path}`);
    }
    const method = methods.get(name);
    if (method === undefined) {
      throw new GrpcError("UNIMPLEMENTED", `unknown method ${name} for service ${service}`);
    }
    this.#name = name;
    return method;
  }

  data(bytes: Bytes): void {
    if (!this.#ended) this.#guard(() => this.#request.push(bytes));
  }

  end(): void {
    if (this.#ended) return;
    this.#guard(() => {
      if (this.#context.isEnding()) {
        throw new GrpcError("UNAVAILABLE", "the service is about to end; try again");
      }
      const emit = (message: Bytes) => this.#guard(() => this.#send(message));
      const running = this.#running = this.#method!(this.#request.message(), emit, this.#context);
      this.#request[Symbol.dispose]();
      // The call finishes at once, so that the whole answer is one write.
      if (running.done === undefined) this.#finish();
      else running.done.then(() => this.#finish(), (error) => this.#fail(error));
    });
  }

  reset(): void {
    if (this.#ended) return;
    this.#record("CANCELLED", "");
    this.#running?.cancel();
  }

  /** Sends a message of the answer. @throws {GrpcError} if too much already waits for the client */
  #send(message: Bytes): void {
    if (this.#ended) return;
    if (!this.#context.mayAnswer()) {
      throw new GrpcError("RESOURCE_EXHAUSTED", "too many answers wait for this client");
    }
    this.#begin();
    this.#stream.send(framed(message));
  }

  #begin(): void {
    if (this.#begun) return;
    this.#begun = true;
    this.#stream.respond(ANSWER);
  }

  #finish(): void {
    if (this.#ended) return;
    this.#record("OK", "");
    this.#begin();
    this.#stream.finish(SUCCESS);
  }

  #fail(error: unknown): void {
    if (this.#ended) return;
    const status = statusOf(error), message = shownMessage(error);
    this.#record(status, message);
    this.#running?.cancel();
    const trailers = trailersOf(status, message);
    if (this.#begun) this.#stream.finish(trailers);
    else this.#stream.respond([...ANSWER, ...trailers], true);
  }

  #guard(step: () => void): void {
    try {
      step();
    } catch (error) {
      this.#fail(error);
    }
  }

  #record(status: StatusName, message: string): void {
    this.#ended = true;
    if (this.#deadline !== undefined) clearTimeout(this.#deadline);
    this.#request[Symbol.dispose]();
    this.#context.onEnd({
      method: this.#name,
      subject: this.#running?.subject ?? {},
      status,
      message,
      milliseconds: performance.now() - this.#started,
    });
  }
}
