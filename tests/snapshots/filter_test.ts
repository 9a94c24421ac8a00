/** Filters of snapshots: which of a few known ones each fits, written by hand, and what is none. */
import { assertEquals, assertThrows } from "@std/assert";
import { VeneerError } from "../../lib/base/errors.ts";
import { checkNames, compile } from "../../lib/snapshots/filter.ts";
import { compilePattern } from "../../lib/snapshots/pattern.ts";
import type { SnapshotInfo, SnapshotKind } from "../../lib/snapshots/snapshotter.ts";
import { cpuTime, limitHere } from "../support/cpu_time.ts";

const info = (
  name: string,
  kind: SnapshotKind,
  parent: string,
  labels: Record<string, string> = {},
): SnapshotInfo => ({
  name,
  kind,
  parent,
  labels: new Map(Object.entries(labels)),
  created: 0,
  updated: 0,
  layer: "l",
});

/** Named by one letter or digit each, so that an expectation is one word. */
const SNAPSHOTS: readonly SnapshotInfo[] = [
  info("a", "committed", ""),
  info("b", "committed", "a", { foo: "true", "a.b": "dotted" }),
  info("c", "active", "b", { foo: "present", "more complex label": "present" }),
  info("d", "view", "b", { 'label with \\ and "': "quoted", empty: "x" }),
  info("e", "active", "", { foo: "omg_asdf.asdf-qwer", 'label with \\ and ".post': "joined" }),
  info("f", "active", "e/with, comma", { other: "too complex, yo", "x-y_z": "1" }),
];

const all = "abcdef";

const FITS: readonly (readonly [filter: string, fits: string])[] = [
  ["", all],
  // Presence
  ["name", all],
  ["kind", all],
  ["parent", all],
  ["labels", ""],
  ["labels.foo", "bce"],
  ["labels.foo,name", "bce"],
  ["labels.nowhere", ""],
  ["unknown", ""],
  ["unknown.field", ""],
  ["created", ""],
  // Equality
  ["name==a", "a"],
  ['name==""', ""],
  ['parent==""', "ae"],
  ["kind==active", "cef"],
  ["kind==committed", "ab"],
  ["kind==view", "d"],
  ["kind==VIEW", ""],
  ["name!=a", "bcdef"],
  ["kind!=active,kind!=view", "ab"],
  ["parent==b", "cd"],
  ["labels.foo==true", "b"],
  ["labels.foo!=true", "acdef"],
  ["unknown!=x", all],
  ['unknown!=""', ""],
  ['unknown==""', ""],
  ["labels.foo==omg_asdf.asdf-qwer", "e"],
  ['labels."x-y_z"==1', "f"],
  // What follows a field that has no parts is not looked at.
  ["name.anything==a", "a"],
  // Dots and quotes in paths
  ["labels.a.b==dotted", "b"],
  ['labels."a.b"==dotted', "b"],
  ['labels."a"."b"==dotted', "b"],
  ['"labels".foo==true', "b"],
  ['labels."more complex label"', "c"],
  ['labels."label with \\\\ and \\""==quoted', "d"],
  ['labels."label with \\\\ and \\"".post==joined', "e"],
  ['labels."\\x66\\157\\u006f"==true', "b"],
  // Quoted values
  ['labels.other=="too complex, yo"', "f"],
  ['parent=="e/with, comma"', "f"],
  ["parent==e/with", ""],
  ['name=="\\U00000061"', "a"],
  ['name=="\\x61"', "a"],
  ['name=="\\141"', "a"],
  ['name=="a\\n"', ""],
  // Quotes within a value that does not begin with one are its own.
  ['name==a"b"', ""],
  // White space
  ["name == a", "a"],
  ["  name  ==  a", "a"],
  ["\u00a0name==\u2003a", "a"],
  ["name==a, kind==committed", "a"],
  ["labels. foo", "bce"],
  // Regular expressions
  ["name~=[ab]", "ab"],
  ["name~=^[^ab]$", "cdef"],
  ["labels.foo~=^.*_asdf", "e"],
  ["labels.other~=/o{2} [a-z]+, yo/", "f"],
  ["labels.other~=|o{2} [a-z]+, yo|", "f"],
  ['labels.other~="o{2} [a-z]+, yo"', "f"],
  ["parent~=/e\\/with/", "f"],
  ["parent~=|e/with|", "f"],
  ["labels.foo~=\\w+_\\w+\\.asdf", "e"],
  ["labels.foo~=/\\\\w+_\\\\w+\\\\.asdf/", "e"],
  ["unknown~=|.*|", all],
  ["unknown~=^$", all],
  ["unknown~=|.+|", ""],
  ["kind~=^(active|view)$,parent~=[a-z]", "cdf"],
];

Deno.test("a filter fits the snapshots it should", () => {
  for (const [filter, expected] of FITS) {
    assertEquals(fitting([filter]), expected, filter);
  }
});

Deno.test("of several filters one has to fit; without any, everything does", () => {
  assertEquals(fitting([]), all);
  assertEquals(fitting(["name==a", "kind==view"]), "ad");
  assertEquals(fitting(["name==a,kind==view", "name==f"]), "f");
  assertEquals(fitting(["name==a", ""]), all);
});

const fitting = (filters: readonly string[]) =>
  SNAPSHOTS.filter(compile(filters)).map(({ name }) => name).join("");

const OPERATOR = '"==", "!=" or "~=" is expected';

const REFUSED: readonly (readonly [filter: string, place: string, problem: string])[] = [
  ["name==", "its end", "a value is expected"],
  ["name==a,", "its end", "a field is expected"],
  [",name", "character 1", "a field is expected"],
  ["labels.", "its end", "a field is expected"],
  ["labels..a", "character 8", "a field is expected"],
  ["?", "character 1", "a field is expected"],
  ["  ", "its end", "a field is expected"],
  ["nämé==a", "character 2", `${OPERATOR}; a field with other marks than _ needs quotes`],
  ["name=a", "character 5", OPERATOR],
  ["name===a", "character 5", OPERATOR],
  ["name=~a", "character 5", OPERATOR],
  ["name a", "character 6", `${OPERATOR}; a field with other marks than _ needs quotes`],
  ["name ,kind", "character 6", `${OPERATOR}; a field with other marks than _ needs quotes`],
  ["image~=,id?=?fbaq", "character 8", "a value is expected"],
  ["name==.a", "character 7", "a value is expected"],
  ["name~=.*", "character 7", "a value is expected"],
  ["name== =a", "character 8", "a value is expected"],
  ["name==a b", "character 8", '"," or the end is expected'],
  ["name==a ", "character 8", '"," or the end is expected'],
  ['name=="a"b', "character 10", '"," or the end is expected'],
  [
    "labels.ns/key==value",
    "character 10",
    `${OPERATOR}; a field with other marks than _ needs quotes`,
  ],
  ["labels.x-y==1", "character 9", `${OPERATOR}; a field with other marks than _ needs quotes`],
  ["labels.|foo|==a", "character 8", '| quotes a regular expression, after "~="; use " here'],
  ["labels.key==/value/", "character 13", '/ quotes a regular expression, after "~="; use " here'],
  ["name!=|a|", "character 7", '| quotes a regular expression, after "~="; use " here'],
  ["name~=/value", "character 7", "the / that closes this value is missing"],
  ['name=="a', "character 7", 'the " that closes this value is missing'],
  ['name=="a\n"', "character 7", 'the " that closes this value is missing'],
  ['name=="\\', "character 8", "there is no escape \\ in quotes"],
  ['labels."\\g"', "character 9", "there is no escape \\g in quotes"],
  ['name=="\\/"', "character 8", "there is no escape \\/ in quotes"],
  ["name~=/\\d/", "character 8", "there is no escape \\d in quotes"],
  ['labels."\\xaz"', "character 9", "a number is wrong in this escape"],
  ['labels."\\400"', "character 9", "a number is wrong in this escape"],
  ['labels."\\18"', "character 9", "a number is wrong in this escape"],
  ['labels."\\U00110000"', "character 9", "a number is wrong in this escape"],
  ['name=="\\xff"', "character 7", "the escapes in the quotes that begin here are not valid UTF-8"],
  ["foo\0bar", "character 4", "this character is not allowed in a filter"],
  ["name==\ufffd", "character 7", "this character is not allowed in a filter"],
  ["name==\ud800", "character 7", "this character is not allowed in a filter"],
  // A place is counted in characters, not in what they are made of.
  ["name==\u{1f40b},?", "character 9", "a field is expected"],
  ["name~=(", "character 7", "the regular expression: missing closing ): `(`"],
  ["kind==a, name~=[", "character 16", "the regular expression: missing closing ]: `[`"],
];

Deno.test("what is no filter is refused with its place", () => {
  for (const [filter, place, problem] of REFUSED) {
    const error = assertThrows(() => compile(["name", filter]), VeneerError);
    assertEquals(error.code, "invalid argument", filter);
    assertEquals(error.message, `filter ${JSON.stringify(filter)}, at ${place}: ${problem}`);
  }
});

const MATCHES:
  readonly (readonly [pattern: string, fits: readonly string[], not: readonly string[]])[] = [
    ["", ["", "anything"], []],
    ["b", ["b", "abc"], ["", "B"]],
    ["^b$", ["b"], ["ab", "bc", "b\n"]],
    ["a|bc|", ["", "x"], []],
    ["^(a|bc)$", ["a", "bc"], ["b", "abc", ""]],
    ["^a.c$", ["abc", "a\u{1f40b}c"], ["a\nc", "ac"]],
    ["^(?s)a.c$", ["abc", "a\nc"], []],
    ["(?m)^b$", ["a\nb\nc"], ["a\nbc"]],
    ["\\Ab\\z", ["b"], ["a\nb\nc", "b\n"]],
    ["^a*$", ["", "aaaa"], ["aab"]],
    ["^a+?$", ["a", "aaaa"], ["", "b"]],
    ["^ab??c$", ["abc", "ac"], ["abbc"]],
    ["^a{2}$", ["aa"], ["a", "aaa"]],
    ["^a{2,}$", ["aa", "aaaa"], ["a"]],
    ["^a{0}$", [""], ["a"]],
    ["^a{1,3}$", ["a", "aaa"], ["", "aaaa"]],
    // In braces, what says no number stands for itself.
    ["^a{,3}$", ["a{,3}"], ["a", "aaa"]],
    ["^a{01}$", ["a{01}"], ["a"]],
    ["^x{$", ["x{"], ["x"]],
    ["^(?:ab)+$", ["abab"], ["aba"]],
    ["^(|a)*$", ["", "aa"], ["b"]],
    ["^(a*)*$", ["", "aa"], ["b"]],
    ["^(?P<n>a)(?<m>b)$", ["ab"], ["a"]],
    ["^[abc]$", ["a", "c"], ["d", "ab"]],
    ["^[^abc]$", ["d", "\n"], ["a", ""]],
    ["^[a-c-e]$", ["b", "-", "e"], ["d"]],
    ["^[]a]$", ["]", "a"], ["b"]],
    ["^[^]a]$", ["b"], ["]", "a"]],
    ["^[a-]$", ["a", "-"], ["b"]],
    ["^[\\]\\\\]$", ["]", "\\"], ["a"]],
    ["^[.*$]$", [".", "*", "$"], ["a"]],
    ["^[\\d_]+$", ["12_3"], ["a", "١"]],
    ["^[^\\D5]$", ["4"], ["5", "a"]],
    ["^[[:alpha:][:digit:]]+$", ["aZ9"], ["_", "é"]],
    ["^[[:^alpha:]]$", ["1"], ["a"]],
    ["^[[:word:]-]+$", ["a_1-"], ["."]],
    ["^[\\x41-\\x{43}\\x{1f40b}]$", ["A", "C", "\u{1f40b}"], ["D"]],
    ["^\\d\\D\\s\\S\\w\\W$", ["1a x_-"], ["1a x_a"]],
    ["^\\s$", [" ", "\t"], ["\u00a0", "\v"]],
    ["^\\w$", ["a"], ["é"]],
    ["^\\pL+$", ["aé牛"], ["1"]],
    ["^\\PL$", ["1"], ["a"]],
    ["^\\p{^L}$", ["1"], ["a"]],
    ["^\\p{Lu}\\p{Greek}$", ["Aω"], ["aω", "Aw"]],
    ["^\\p{Any}$", ["a", "\n"], ["ab"]],
    ["\\bfoo\\b", ["a foo.", "foo"], ["food", "_foo"]],
    ["\\Boo\\B", ["food"], ["foo"]],
    ["^\\.\\*\\[\\]\\(\\)\\_\\-$", [".*[]()_-"], [""]],
    ["^\\a\\f\\t\\n\\r\\v$", ["\x07\f\t\n\r\v"], [""]],
    ["^\\141\\0$", ["a\0"], [""]],
    ["^\\Qa.b*\\E+$", ["a.b*", "a.b**"], ["axb*"]],
    ["^\\Qa.b", ["a.bc"], ["axb"]],
    ["^\\Qa\\$", ["a\\$"], ["a"]],
    ["(?i)^abc[d-f]$", ["ABCE", "abcd"], ["abcg"]],
    ["^(?i)k$", ["k", "K", "\u212a"], ["c"]],
    ["^(?i:a)b$", ["Ab", "ab"], ["AB"]],
    ["^a(?i)b(?-i)c$", ["aBc"], ["aBC", "ABc"]],
    ["^((?i)a)b$", ["Ab"], ["AB"]],
    ["(?i)^\\P{Lu}$", ["1"], ["a", "A"]],
    ["(?i)^[^a]$", ["b"], ["A"]],
    ["(?U)^a+?$", ["aa"], ["b"]],
    ["(?)^a$", ["a"], ["A"]],
    ["^牛+$", ["牛牛"], ["牜"]],
    ["^.$", ["\u{1f40b}"], ["ab"]],
  ];

Deno.test("a regular expression fits the texts it should", () => {
  for (const [pattern, fits, not] of MATCHES) {
    const matches = compilePattern(pattern);
    for (const text of fits) {
      assertEquals(matches(text), true, `${pattern} on ${JSON.stringify(text)}`);
    }
    for (const text of not) {
      assertEquals(matches(text), false, `${pattern} on ${JSON.stringify(text)}`);
    }
  }
});

const NO_PATTERNS: readonly string[] = [
  "(",
  ")",
  "a)b",
  "[a",
  "[]",
  "[b-a]",
  "[a-\\d]",
  "[[:letter:]]",
  "*",
  "a|*",
  "(+)",
  "a**",
  "a*+",
  "a{2}{3}",
  "a{1001}",
  "a{2,1}",
  "(a{100}){11}",
  "\\",
  // What RE2 has not
  "(a)\\1",
  "\\8",
  "\\Z",
  "\\é",
  "\\x{110000}",
  "(?=a)",
  "(?!a)",
  "(?<=a)",
  "(?>a)",
  "(?x)",
  "(?P=n)",
  "(?P<a b>c)",
  "(?P<n>a)(?P<n>b)",
  "\\p{Klingon}",
  "\\pX",
  "x".repeat(4097),
  "(".repeat(1001) + ")".repeat(1001),
];

Deno.test("what is no regular expression is refused, also what only others have", () => {
  for (const pattern of NO_PATTERNS) {
    const { message } = assertThrows(() => compilePattern(pattern), SyntaxError, "", pattern);
    assertEquals(/^[^\n]{5,}$/.test(message), true, message);
  }
});

Deno.test("no regular expression takes long", () => {
  const text = "a".repeat(4000) + "!";
  const start = cpuTime();
  for (
    const pattern of [
      "^(a+)+$",
      "^(a|a)*$",
      "^(a|aa)+$",
      "(x+x+)+y",
      "^(.*?,){11}P",
      "(a?){20}a{20}$",
    ]
  ) {
    assertEquals(compilePattern(pattern)(text), false, pattern);
  }
  const took = cpuTime() - start;
  assertEquals(took < limitHere(10_000), true, `${took} ms`);
});

Deno.test("filters of a person name fields and kinds that exist", () => {
  checkNames(["kind==active", 'name~="^a",labels."x.y"', "parent!=x", "kind~=act", "kind", ""]);
  const refuse = (filter: string) =>
    assertThrows(() => checkNames(["name==a", filter]), VeneerError).message;
  assertEquals(
    refuse("kindd!=active"),
    'filter "kindd!=active": no field is named kindd; did you mean kind?',
  );
  assertEquals(
    refuse("name==a,foo"),
    'filter "name==a,foo": no field is named foo; there are kind, name, parent, labels',
  );
  assertEquals(
    refuse("kind==activ"),
    'filter "kind==activ": no kind is activ; did you mean active?',
  );
  assertEquals(compile(["kindd==x"])(SNAPSHOTS[0]), false, "containerd's clients may send any");
});
