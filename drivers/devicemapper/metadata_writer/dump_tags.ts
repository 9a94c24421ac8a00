/**
 * Splits a dump of `thin_dump` into its tags. A dump has tags with attributes and nothing else: no
 * text, no entities, no comments. Anything else is refused, and no tag is longer than a page.
 *
 * @module
 */
import { tryRead } from "../../../ffi/files.ts";
import { unwrap } from "../../../ffi/unwrap.ts";
import { VeneerError } from "../../../lib/base/errors.ts";
import { escapePath } from "../../../lib/base/printable.ts";

/** A tag, such as `<device dev_id="1">`. */
export interface Tag {
  readonly name: string;
  /** `</device>`. */
  readonly isEnd: boolean;
  /** `<device …/>`. */
  readonly isEmpty: boolean;
  readonly attributes: ReadonlyMap<string, string>;
}

/** The longest tag, in bytes. */
const LONGEST = 4096;

const TAG = /^<(\/?)([a-z_]{1,32})((?:\s+[a-z_]{1,32}="[^"<&]*")*)\s*(\/?)>$/;
const ATTRIBUTE = /([a-z_]+)="([^"]*)"/g;

/**
 * Yields the tags of a dump.
 *
 * @param fd open for reading
 * @throws {VeneerError} `invalid argument` if it is not a dump
 */
export function* tagsIn(fd: number): Generator<Tag> {
  const bytes = new Uint8Array(64 << 10), decoder = new TextDecoder("latin1");
  let text = "", isFirst = true;
  for (;;) {
    const end = text.indexOf(">");
    if (end < 0) {
      if (text.length > LONGEST) throw notADump(text);
      const length = unwrap(tryRead(fd, bytes), "read");
      if (length === 0) break;
      text += decoder.decode(bytes.subarray(0, length));
      continue;
    }
    // The rest is split off once for each piece that is read, not once for each tag.
    const tags = text.split(">");
    text = tags.pop()!;
    for (const one of tags) {
      const tag = `${one.trimStart()}>`;
      const isDeclaration = isFirst && /^<\?xml [^<]*\?>$/.test(tag);
      isFirst = false;
      if (!isDeclaration) yield parse(tag);
    }
  }
  if (text.trim() !== "") throw notADump(text);
}

function parse(text: string): Tag {
  const match = text.length <= LONGEST ? TAG.exec(text) : null;
  if (match === null) throw notADump(text);
  const [, end, name, attributes, empty] = match;
  return {
    name,
    isEnd: end !== "",
    isEmpty: empty !== "",
    attributes: new Map([...attributes.matchAll(ATTRIBUTE)].map(([, key, value]) => [key, value])),
  };
}

function notADump(text: string): VeneerError {
  const start = escapePath(text.trim().slice(0, 40));
  return new VeneerError(
    "invalid argument",
    `the file is not a dump of thin_dump: ${JSON.stringify(start)} is not a tag of one`,
  );
}
