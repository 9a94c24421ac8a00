/**
 * Regular expressions that cannot be made to take long: matched by following all ways at once, so that the time
 * is at most the length of the text times that of the expression. They come from whoever may list snapshots.
 *
 * @module
 */
import type { CharacterTest } from "./pattern_sets.ts";
import { parsePattern } from "./pattern_syntax.ts";
import type { Assertion, Pattern } from "./pattern_tree.ts";

/** How many steps an expression may have when repetitions are written out. */
const MAX_STEPS = 5000;

/** A step of the way through an expression; where it goes on is the number of another. */
type Step =
  | { kind: "character"; test: CharacterTest; next: number }
  | { kind: "assertion"; assertion: Assertion; next: number }
  | { kind: "fork"; next: number; other: number }
  | { kind: "end" };

/**
 * A test whether an expression fits anywhere in a text.
 *
 * @throws {SyntaxError} for what is none, or too large
 */
export function compilePattern(text: string): (text: string) => boolean {
  const steps: Step[] = [{ kind: "end" }];
  const start = write(parsePattern(text), 0, steps);
  return (text) => isMatched(steps, start, text);
}

/** Writes the steps of a pattern that go on at `next`; returns the first. */
function write(pattern: Pattern, next: number, steps: Step[]): number {
  switch (pattern.kind) {
    case "character":
    case "assertion":
      return add({ ...pattern, next }, steps);
    case "sequence":
      return pattern.parts.reduceRight((after, part) => write(part, after, steps), next);
    case "alternatives":
      return pattern.parts.map((part) => write(part, next, steps))
        .reduceRight((other, first) => add({ kind: "fork", next: first, other }, steps));
    case "repetition":
      return writeRepetition(pattern, next, steps);
  }
}

function writeRepetition(
  { part, min, max }: Pattern & { kind: "repetition" },
  next: number,
  steps: Step[],
): number {
  let start = next;
  if (max === Infinity) {
    const fork: Step & { kind: "fork" } = { kind: "fork", next: 0, other: next };
    start = add(fork, steps);
    fork.next = write(part, start, steps);
  } else {
    for (let i = min; i < max; i++) {
      start = add({ kind: "fork", next: write(part, start, steps), other: next }, steps);
    }
  }
  for (let i = 0; i < min; i++) start = write(part, start, steps);
  return start;
}

function add(step: Step, steps: Step[]): number {
  if (steps.length >= MAX_STEPS) {
    throw new SyntaxError(`it is too large: it comes to more than ${MAX_STEPS} steps`);
  }
  return steps.push(step) - 1;
}

function isMatched(steps: readonly Step[], start: number, text: string): boolean {
  /** At which place of the text each step was last come to. */
  const reached = new Int32Array(steps.length).fill(-1);
  /** Steps to be looked at where the text is, and those that take a character. */
  const open: number[] = [], taking: (Step & { kind: "character" })[] = [];
  let before: number | undefined;
  for (let place = 0;;) {
    const here = text.codePointAt(place);
    open.push(start);
    for (let number = open.pop(); number !== undefined; number = open.pop()) {
      if (reached[number] === place) continue;
      reached[number] = place;
      const step = steps[number];
      if (step.kind === "end") return true;
      if (step.kind === "character") taking.push(step);
      else if (step.kind === "fork") open.push(step.other, step.next);
      else if (holds(step.assertion, before, here)) open.push(step.next);
    }
    if (here === undefined) return false;
    for (let step = taking.pop(); step !== undefined; step = taking.pop()) {
      if (step.test(here)) open.push(step.next);
    }
    before = here;
    place += here > 0xffff ? 2 : 1;
  }
}

/** Whether an assertion is true between two characters, which are not there at the ends. */
function holds(
  assertion: Assertion,
  before: number | undefined,
  here: number | undefined,
): boolean {
  switch (assertion) {
    case "text start":
      return before === undefined;
    case "text end":
      return here === undefined;
    case "line start":
      return before === undefined || before === 10;
    case "line end":
      return here === undefined || here === 10;
    case "word":
      return isWord(before) !== isWord(here);
    case "no word":
      return isWord(before) === isWord(here);
  }
}

function isWord(codePoint: number | undefined): boolean {
  return codePoint !== undefined && /^\w$/.test(String.fromCodePoint(codePoint));
}
