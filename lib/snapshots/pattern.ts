/**
 * The regular expressions of containerd's filters, which are Go's: they have no slow features such
 * as backreferences. Any client that may list snapshots can send them, so the time of a match must
 * be linear in the text and in the expression.
 *
 * @module
 */
import { RE2JS, RE2JSException } from "re2js";

/**
 * The longest expression in UTF-16 code units. A match takes at most this times the length of the
 * text.
 */
const MAX_LENGTH = 4096;

/**
 * A test whether an expression matches anywhere in a text.
 *
 * @throws {SyntaxError} if the expression is invalid or too long
 */
export function compilePattern(text: string): (text: string) => boolean {
  if (text.length > MAX_LENGTH) {
    throw new SyntaxError(`it has more than ${MAX_LENGTH} characters`);
  }
  try {
    const expression = RE2JS.compile(text);
    return (text) => expression.test(text);
  } catch (error) {
    if (!(error instanceof RE2JSException)) throw error;
    throw new SyntaxError(error.message.replace(/^error parsing regexp: /, ""));
  }
}
