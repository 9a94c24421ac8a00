/**
 * Regular expressions as containerd's filters have them, Go's: without slow features such as
 * backreferences. The time of a match is linear in the text and in the expression, since any client
 * that may list snapshots can send them.
 *
 * @module
 */
import { RE2JS, RE2JSException } from "re2js";

/**
 * The longest expression, in UTF-16 code units: matching takes the length of the text times this at
 * most.
 */
const MAX_LENGTH = 4096;

/**
 * A test whether an expression fits anywhere in a text.
 *
 * @throws {SyntaxError} for an invalid or too long expression
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
