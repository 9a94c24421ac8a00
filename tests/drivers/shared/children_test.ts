/** The children of a layer are known without reading what every other layer stands on, whatever made them. */
// @runs on ext4, xfs, btrfs
import { assert, assertEquals, assertMatch } from "@std/assert";
import { statSync } from "node:fs";
import type { GraphDriver } from "../../../lib/graph/driver.ts";
import { must } from "../../support/cases.ts";
import { assertFails } from "../../support/errors.ts";
import { childrenCases, settle } from "./children.ts";

/** A removal that must name the child; nothing goes. */
function refused(driver: GraphDriver, id: string, child: string): void {
  assertEquals(
    assertFails("in use", () => driver.remove(id)).message,
    `layer ${id} has children: ${child}; remove them first`,
  );
}

/** How many read calls this process makes while something is done: `proc(5)`. */
function reads(use: () => void): number {
  const count = () => Number(/^syscr: (\d+)/m.exec(Deno.readTextFileSync("/proc/self/io"))![1]);
  const before = count();
  use();
  return count() - before;
}

childrenCases(
  "a record is read once, not by every removal, and forgotten when it is gone",
  async (layers) => {
    const OTHERS = 120;
    const driver = layers.open();
    for (const id of ["base", "one", "two"]) driver.create(id);
    for (let i = 0; i < OTHERS; i++) driver.create(`other-${i}`, { parent: "base" });
    await settle();
    const first = reads(() => driver.remove("one"));
    assert(first >= OTHERS, `${first} reads`);
    const second = reads(() => layers.open().remove("two"));
    assert(second < OTHERS / 2, `${second} reads`);
    const third = reads(() => refused(layers.open(), "base", "other-0, other-1, other-10, …"));
    assert(third < OTHERS / 2, `${third} reads`);
    const fourth = reads(() => driver.remove("other-0")); // Which looks for others on the same layer.
    assert(fourth < OTHERS / 2, `${fourth} reads`);

    const lines = () => Deno.readTextFileSync(layers.index).trim().split("\n").length;
    assert(lines() > OTHERS, `${lines()} lines`);
    for (let i = 1; i < OTHERS; i++) driver.remove(`other-${i}`);
    assert(lines() < OTHERS * 3 / 4, `${lines()} lines`);
    driver.remove("base");
    assertEquals(layers.warnings, []);
  },
);

childrenCases("another parent is seen, however it is recorded", async (layers) => {
  const ids = ["edited", "made-again", "removed-first", "replaced"];
  const some = "edited, made-again, removed-first, …";
  const driver = layers.open();
  for (const id of ["before", "after"]) driver.create(id);
  for (const id of ids) driver.create(id, { parent: "before" });
  await settle();
  refused(driver, "before", some);
  refused(layers.open(), "before", some);
  for (const id of ids) assert(Deno.readTextFileSync(layers.index).includes(` ${id} `), id);

  const edited = layers.record("edited"), { ino } = statSync(edited);
  Deno.writeTextFileSync(edited, layers.recordOn("after"));
  assertEquals(statSync(edited).ino, ino);
  const replaced = layers.record("replaced");
  Deno.writeTextFileSync(`${replaced}.new`, layers.recordOn("after"));
  Deno.renameSync(`${replaced}.new`, replaced);
  // Many a file system gives the number of a file that is gone to the next one.
  const removed = layers.record("removed-first");
  Deno.removeSync(removed);
  Deno.writeTextFileSync(removed, layers.recordOn("after"));
  driver.remove("made-again");
  driver.create("made-again", { parent: "after" });

  for (const opened of [driver, layers.open()]) refused(opened, "after", some);
  layers.open().remove("before");
  for (const id of [...ids, "after"]) driver.remove(id);
  assertEquals(driver.layers(), []);
  assertEquals(layers.warnings, []);
});

childrenCases("layers that another program makes, removes and makes again", async (layers) => {
  const driver = layers.open();
  for (const id of ["a", "b"]) driver.create(id);
  layers.makeAsDocker("theirs", "a");
  refused(driver, "a", "theirs");
  await settle();
  refused(driver, "a", "theirs");
  assert(Deno.readTextFileSync(layers.index).includes(" theirs "));
  const again = layers.open();
  refused(again, "a", "theirs");
  layers.removeAsDocker("theirs");
  layers.makeAsDocker("theirs", "b");
  refused(again, "b", "theirs");
  refused(layers.open(), "b", "theirs");
  again.remove("a");
  layers.removeAsDocker("theirs");
  layers.open().remove("b");
  assertEquals(layers.warnings, []);
});

/** What may be in the place of the index; `outside` is a file that must stay as it is. */
const DAMAGES: Record<string, (index: string, outside: string) => void> = {
  "missing": () => {},
  "empty": (index) => Deno.writeTextFileSync(index, ""),
  "text": (index) => Deno.writeTextFileSync(index, "other words\n".repeat(1000)),
  "bytes that are no text": (index) =>
    Deno.writeFileSync(index, crypto.getRandomValues(new Uint8Array(60_000))),
  "zeros": (index) => Deno.writeFileSync(index, new Uint8Array(10_000)),
  "a terabyte": (index) => must("truncate", "-s", "1T", index),
  "a fifo": (index) => must("mkfifo", index),
  "a socket": (index) =>
    must(
      "python3",
      "-c",
      "import socket,sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])",
      index,
    ),
  "a device": (index) => must("mknod", index, "c", "1", "5"), // /dev/zero
  "a link": (index, outside) => Deno.symlinkSync(outside, index),
  "another name of a file": (index, outside) => Deno.linkSync(outside, index),
  "a link to itself": (index) => Deno.symlinkSync("children", index),
};

childrenCases("a damaged index is no reason for a wrong answer", async (layers) => {
  const driver = layers.open();
  for (const id of ["base", ...Object.keys(DAMAGES).map((_, i) => `free-${i}`)]) driver.create(id);
  driver.create("child", { parent: "base" });
  await settle();
  refused(driver, "base", "child");
  const start = Deno.readTextFileSync(layers.index).split("\n")[0] + "\n";
  const outside = `${layers.root}/outside`;
  for (const [i, [name, damage]] of Object.entries(DAMAGES).entries()) {
    Deno.writeTextFileSync(outside, start);
    Deno.removeSync(layers.index);
    damage(layers.index, outside);
    const started = performance.now();
    const opened = layers.open();
    refused(opened, "base", "child");
    opened.remove(`free-${i}`);
    assert(performance.now() - started < 60_000, name);
    assertEquals(Deno.readTextFileSync(outside), start, name);
    // It is made anew.
    assert(Deno.lstatSync(layers.index).isFile, name);
    assertMatch(Deno.readTextFileSync(layers.index), /^[0-9a-f]{8} home [^\n]+\n/, name);
    assert(Deno.readTextFileSync(layers.index).includes(" child "), name);
  }
  Deno.removeSync(outside);
  assertEquals(layers.warnings, []);

  // Copied from another store: lines that are right but for the store that they are about, and for what they say.
  const [header, ...lines] = Deno.readTextFileSync(layers.index).split("\n");
  const child = new Line(lines.find((line) => line.includes(" child "))!);
  Deno.writeTextFileSync(
    layers.index,
    `${new Line(header).with(2, "1")}\n${child.with(-1, "other")}\n`,
  );
  refused(layers.open(), "base", "child");
  assertEquals(Deno.readTextFileSync(layers.index).split("\n")[0], header);

  // A directory stays, and is told of once.
  Deno.removeSync(layers.index);
  Deno.mkdirSync(`${layers.index}/precious`, { recursive: true });
  const opened = layers.open();
  for (let i = 0; i < 2; i++) refused(opened, "base", "child");
  assertEquals(layers.warnings.length, 1);
  assertMatch(layers.warnings[0], /children cannot be written, .*EISDIR/);
  assert(Deno.statSync(`${layers.index}/precious`).isDirectory);
});

/** A line of the index. */
class Line {
  readonly #fields: string[];

  constructor(text: string) {
    this.#fields = text.split(" ");
  }

  /** The same line with another field, and the hash for it. */
  with(at: number, field: string): string {
    const fields = this.#fields.slice(1);
    fields[at < 0 ? fields.length + at : at - 1] = field;
    const text = fields.join(" ");
    let hash = 0x811c9dc5;
    for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193);
    return `${(hash >>> 0).toString(16).padStart(8, "0")} ${text}`;
  }
}

childrenCases("processes and another program that make layers again and again", async (layers) => {
  layers.open();
  const script = new URL("children_worker.ts", import.meta.url).pathname;
  const ended = await Promise.all(
    ["first", "second", "other"].map((name) =>
      new Deno.Command(Deno.execPath(), {
        args: ["run", "--allow-all", "--no-check", script, layers.root, layers.driver, name, "6"],
        stdin: "null",
      }).output()
    ),
  );
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  for (const { success, stderr } of ended) assert(success, text(stderr));
  for (const { stdout } of ended) assert(Number(text(stdout)) >= 24, text(stdout));
  assertEquals(layers.open().layers(), []);
});
