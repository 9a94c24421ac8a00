/** What keys, names and labels of snapshots may be. */
import { assertEquals } from "@std/assert";
import { checkField, checkKey, checkLabels, relabelled, shown } from "../../lib/snapshots/keys.ts";
import { refuses } from "../support/errors.ts";

function refusesKey(action: () => unknown, message: string): void {
  assertEquals(refuses("invalid argument", action), message);
}

Deno.test("a key is any text that UTF-8 can say", () => {
  const keys = [
    "a",
    " ",
    "/",
    "..",
    "k8s.io/12/extract-1234 sha256:abc",
    "\n\t\x7f",
    "é牛\u{1f40b}\ufeff\uffff",
    "a".repeat(4096),
    "é".repeat(2048),
    "\u{1f40b}".repeat(1024),
  ];
  for (const key of keys) checkKey(key);
});

Deno.test("a key that could not be is refused with the reason", () => {
  refusesKey(() => checkKey(""), 'snapshot "": it is empty');
  refusesKey(() => checkKey("", "parent"), 'parent "": it is empty');
  refusesKey(() => checkKey("a\0b"), 'snapshot "a\\u0000b": it has a NUL');
  const half = "it has half a surrogate pair, which UTF-8 cannot encode";
  refusesKey(() => checkKey("a\ud83d"), `snapshot "a\\ud83d": ${half}`);
  refusesKey(() => checkKey("\udc0ba"), `snapshot "\\udc0ba": ${half}`);
  const start = JSON.stringify(`${"a".repeat(80)}…`);
  refusesKey(
    () => checkKey("a".repeat(4097)),
    `snapshot ${start}: it has 4097 bytes, 4096 are allowed`,
  );
  refusesKey(
    () => checkKey("é".repeat(2049)),
    `snapshot ${JSON.stringify(`${"é".repeat(80)}…`)}: it has 4098 bytes, 4096 are allowed`,
  );
});

Deno.test("a key is shown on one line, as text that no terminal obeys, and not all of a long one", () => {
  assertEquals(shown("\u{1f40b}".repeat(100)), `"${"\u{1f40b}".repeat(40)}…"`);
  assertEquals(shown(`a${"\u{1f40b}".repeat(100)}`), `"a${"\u{1f40b}".repeat(39)}\\ud83d…"`);
  assertEquals(shown('a"\n\x1b[1m\x7f\x9b1m'), '"a\\"\\n\\u001b[1m\\177\\302\\2331m"');
});

Deno.test("labels have a key, and up to 4 KiB with their value", () => {
  const labels = new Map([["a", "1"], ["a.b/c", "x y"], ["k".repeat(96), "v".repeat(4000)]]);
  assertEquals(checkLabels(labels), labels);
  assertEquals(checkLabels(undefined), new Map());
  // A label without a value is none.
  assertEquals(checkLabels(new Map([["a", ""], ["b", "1"]])), new Map([["b", "1"]]));

  refusesKey(() => checkLabels(new Map([["", "v"]])), 'label "": its key is empty');
  refusesKey(() => checkLabels(new Map([["a\0", "v"]])), 'label "a\\u0000": it has a NUL');
  refusesKey(() => checkLabels(new Map([["a", "\0"]])), 'label "a": it has a NUL');
  refusesKey(
    () => checkLabels(new Map([["a", "\ud800"]])),
    'label "a": it has half a surrogate pair, which UTF-8 cannot encode',
  );
  refusesKey(
    () => checkLabels(new Map([["k".repeat(96), "v".repeat(4001)]])),
    `label ${
      JSON.stringify(`${"k".repeat(80)}…`)
    }: key and value have 4097 bytes, 4096 are allowed`,
  );
  refusesKey(
    () => checkLabels(new Map([["é", "é".repeat(2048)]])),
    'label "é": key and value have 4098 bytes, 4096 are allowed',
  );
});

Deno.test("labels have up to 1 MiB together, also by updates one by one", () => {
  const many = (count: number) =>
    new Map(Array.from({ length: count }, (_, i) => [`${1000 + i}`, "x".repeat(4092)]));
  assertEquals(checkLabels(many(256)).size, 256);
  const message = "the labels of a snapshot have 1052672 bytes together, 1048576 are allowed";
  refusesKey(() => checkLabels(many(257)), message);
  const more = new Map([["more", "x".repeat(4092)]]);
  refusesKey(() => relabelled(many(256), more, ["labels.more"]), message);
  assertEquals(relabelled(many(256), more, ["labels.more", "labels.1000"]).size, 256);
});

Deno.test("only labels can be changed, all or by their keys as they are", () => {
  for (const field of ["labels", "labels.a", "labels.a.b", 'labels."a.b"', "labels."]) {
    checkField(field);
  }
  for (const field of ["", "name", "kind", "parent", "Labels", "labelsa", "label.a", "created"]) {
    refusesKey(
      () => checkField(field),
      `field ${JSON.stringify(field)}: only labels, or labels.KEY, can be changed`,
    );
  }
});

Deno.test("an update changes the fields that it names", () => {
  const old = new Map([["a", "1"], ["b", "2"], ["a.b", "3"]]);
  const given = new Map([["a", "9"], ["new", "8"], ['"a.b"', "7"]]);
  const cases: readonly (readonly [fields: string[], expected: [string, string][]])[] = [
    [[], [...given]],
    [["labels"], [...given]],
    [["labels.a", "labels"], [...given]],
    [["labels.a"], [["a", "9"], ["b", "2"], ["a.b", "3"]]],
    [["labels.b"], [["a", "1"], ["a.b", "3"]]],
    [["labels.a.b"], [["a", "1"], ["b", "2"]]],
    [["labels.new", "labels.b"], [["a", "1"], ["a.b", "3"], ["new", "8"]]],
    [['labels."a.b"'], [...old, ['"a.b"', "7"]]],
    [["labels.nowhere"], [...old]],
  ];
  for (const [fields, expected] of cases) {
    assertEquals(relabelled(old, given, fields), new Map(expected), fields.join());
  }
  assertEquals(old.size, 3);
});
