/**
 * Checked access to the fields of JSON from untrusted sources.
 *
 * @module
 */
import { VeneerError } from "../base/errors.ts";
import { escapeControls } from "../base/printable.ts";

/** The error for an invalid image. */
export function badImage(message: string, cause?: unknown): VeneerError {
  return new VeneerError("invalid argument", escapeControls(message), { cause });
}

/**
 * Parses a text in UTF-8.
 *
 * @param what its name in messages
 * @throws {VeneerError} `invalid argument`
 */
export function parseJson(bytes: Uint8Array, what: string): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw badImage(`${what} is not JSON`, error);
  }
}

/** An object of JSON; its methods check what they return. */
export class JsonFields {
  readonly #values: Readonly<Record<string, unknown>>;

  /**
   * @param what its name in messages
   * @throws {VeneerError} `invalid argument` if the value is not an object
   */
  constructor(value: unknown, readonly what: string) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw badImage(`${what} is not an object of JSON`);
    }
    this.#values = value as Record<string, unknown>;
  }

  /** A text; `undefined` if it is missing or null. */
  text(name: string): string | undefined {
    const value = this.#field(name);
    if (value === undefined || typeof value === "string") return value;
    throw this.#wrong(name, "a text");
  }

  requireText(name: string): string {
    return this.text(name) ?? this.#miss(name);
  }

  /** A number of bytes. */
  requireSize(name: string): number {
    const value = this.#field(name) ?? this.#miss(name);
    if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
    throw this.#wrong(name, "a number of bytes");
  }

  /** Whether it is true. */
  flag(name: string): boolean {
    return this.#field(name) === true;
  }

  /** The names of all fields. */
  names(): string[] {
    return Object.keys(this.#values);
  }

  object(name: string): JsonFields | undefined {
    const value = this.#field(name);
    return value === undefined ? undefined : new JsonFields(value, `${this.what}: ${name}`);
  }

  requireObject(name: string): JsonFields {
    return this.object(name) ?? this.#miss(name);
  }

  /** A list of objects; empty if it is missing or null. */
  objects(name: string): JsonFields[] {
    return this.#list(name).map((value, i) => new JsonFields(value, `${this.what}: ${name}[${i}]`));
  }

  /** A list of texts; empty if it is missing or null. */
  texts(name: string): string[] {
    const list = this.#list(name);
    if (list.every((value) => typeof value === "string")) return list as string[];
    throw this.#wrong(name, "a list of texts");
  }

  #list(name: string): unknown[] {
    const value = this.#field(name) ?? [];
    if (Array.isArray(value)) return value;
    throw this.#wrong(name, "a list");
  }

  #field(name: string): unknown {
    return Object.hasOwn(this.#values, name) ? this.#values[name] ?? undefined : undefined;
  }

  #miss(name: string): never {
    throw badImage(`${this.what} has no ${name}`);
  }

  #wrong(name: string, kind: string): VeneerError {
    return badImage(`${this.what}: ${name} is not ${kind}`);
  }
}
