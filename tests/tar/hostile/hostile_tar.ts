/**
 * One hostile tar, and lists of them.
 *
 * @module
 */
import { tar, type TarEntry } from "../support/tar_builder.ts";

export type Part = TarEntry | Uint8Array;

/** A tar that no honest program writes. */
export interface HostileTar {
  /** The kind of attack: results are counted by it. */
  readonly class: string;
  /** What is odd about it, for messages. */
  readonly name: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Given where only this is right; otherwise it may be applied or refused. */
  readonly expected?: "applied" | "refused";
}

/** Makes one of parts, with the marker at its end. */
export function hostile(
  kind: string,
  name: string,
  parts: readonly Part[],
  expected?: HostileTar["expected"],
): HostileTar {
  return { class: kind, name, bytes: tar(...parts), expected };
}

/** A short form of any text, for names of tars. */
export function shown(text: string | Uint8Array): string {
  const json = typeof text === "string" ? JSON.stringify(text) : text.toHex();
  return json.length > 40 ? `${json.slice(0, 40)}… (${text.length})` : json;
}
