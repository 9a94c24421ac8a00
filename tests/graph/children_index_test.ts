/** The index of children, whatever happened to its file: a line is as it was written, or costs a reading. */
import { assert, assertEquals } from "@std/assert";
import { mount } from "../../ffi/mount.ts";
import { lstat } from "../../ffi/stat.ts";
import { ChildrenIndex, versionOf as version } from "../../lib/graph/children_index.ts";
import { Home } from "../../lib/store/home.ts";
import { IDENTITY } from "../../lib/base/id_maps.ts";
import { runDirectory } from "../../lib/store/run_root.ts";
import { RunState } from "../../lib/store/run_state.ts";
import { needs, tempDir } from "../support/cases.ts";

const lacking = Deno.uid() === 0 ? undefined : "it needs root";

/** The index of a store, as each process opens it. */
class Store implements Disposable {
  readonly #dir = tempDir();
  readonly path = this.#dir.path;
  readonly warnings: string[] = [];
  #home?: Home;

  open(): ChildrenIndex {
    const home = this.#home ??= Home.open(this.path, "test", IDENTITY);
    return new ChildrenIndex(home, new RunState(home), (text) => void this.warnings.push(text));
  }

  get file(): string {
    return `${this.path}/test/.veneer/children`;
  }

  [Symbol.dispose](): void {
    if (this.#home) Deno.removeSync(runDirectory(this.#home), { recursive: true });
    this.#dir[Symbol.dispose]();
  }
}

function indexCase(name: string, body: (store: Store) => void): void {
  needs(lacking, `children index: ${name}`, () => {
    using store = new Store();
    body(store);
  });
}

/** Layers by number, with names that are the beginnings of others. */
const idOf = (i: number) => "layer".padEnd(5 + i % 7, "x") + i;
const versionOf = (i: number) => `${i}-17.${i}`;
const parentsOf = (i: number) => [`parent${i * 11}`, `l/LINK${i * 11}`];
const numbers = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);
const idsOf = (to: number) => numbers(0, to).map(idOf);

function write(store: Store, from: number, to: number): void {
  const index = store.open();
  index.load(to);
  for (const i of numbers(from, to)) index.add(idOf(i), versionOf(i), parentsOf(i));
  index.save(idsOf(to));
}

/** Which of the layers are known; what is known of them must be right. */
function known(store: Store, to: number): number[] {
  const index = store.open();
  index.load(to);
  return numbers(0, to).filter((i) => {
    const parents = index.parents(idOf(i), versionOf(i));
    if (parents !== undefined) assertEquals(parents, parentsOf(i));
    assertEquals(index.parents(idOf(i), versionOf(i + 1)), undefined);
    return parents !== undefined;
  });
}

indexCase("what several processes write one after the other is known to all", (store) => {
  const first = store.open();
  write(store, 0, 10);
  write(store, 10, 20);
  assertEquals(known(store, 20), numbers(0, 20));
  first.load(20);
  write(store, 20, 30);
  first.load(30);
  for (const i of numbers(0, 30)) assertEquals(first.parents(idOf(i), versionOf(i)), parentsOf(i));
});

indexCase("a process that read it before it was written anew", (store) => {
  write(store, 0, 10);
  const first = store.open();
  first.load(10);
  Deno.removeSync(store.file);
  write(store, 10, 12);
  first.add(idOf(20), versionOf(20), parentsOf(20));
  first.save(idsOf(21));
  assertEquals(known(store, 21), [10, 11, 20]);
});

indexCase("its end may be lost, or zeros, at any byte", (store) => {
  write(store, 0, 4);
  const whole = Deno.readFileSync(store.file);
  for (let cut = 0; cut <= whole.length; cut++) {
    for (const tail of ["lost", "zeros"]) {
      Deno.writeFileSync(
        store.file,
        tail === "lost" ? whole.subarray(0, cut) : whole.map((byte, i) => i < cut ? byte : 0),
      );
      const before = known(store, 4);
      assertEquals(before, numbers(0, before.length));
      // The next process goes on behind it.
      write(store, 4, 6);
      const after = known(store, 6);
      assert([...before, 4, 5].every((i) => after.includes(i)), `${cut}: ${after}`);
    }
  }
});

indexCase("any byte of it may be another", (store) => {
  write(store, 0, 3);
  const whole = Deno.readFileSync(store.file);
  for (let at = 0; at < whole.length; at++) {
    for (const value of [0, 0x0a, 0x20, 0x30, 0x31, whole[at] ^ 1, 0xff]) {
      Deno.writeFileSync(store.file, whole.map((byte, i) => i === at ? value : byte));
      assert(known(store, 3).length >= (value === whole[at] ? 3 : 0));
    }
  }
});

indexCase("several lines about a layer: each version has its own", (store) => {
  const index = store.open();
  index.load(1);
  index.add("a", "1", ["old"]);
  index.add("a", "2", ["new"]);
  index.add("a", "2", ["newer"]);
  index.save(["a"]);
  for (const opened of [index, store.open()]) {
    opened.load(1);
    assertEquals(opened.parents("a", "2"), ["new", "newer"]);
    assertEquals(opened.parents("a", "1"), undefined);
  }
});

indexCase(
  "the state of a record is as good as the text of its version, until it changes",
  (store) => {
    const index = store.open(), path = `${store.path}/record`;
    const look = () => index.parentsAt("a", lstat(path));
    for (const content of ["one", "two"]) {
      Deno.writeTextFileSync(path, content);
      assertEquals([look(), look()], [undefined, undefined]);
      index.add("a", version(lstat(path)), [content]);
      assertEquals([look(), look()], [[content], [content]]);
      // What another process has found, too, is told at once.
      index.add("a", version(lstat(path)), [`${content} again`]);
      assertEquals(look(), [content, `${content} again`]);
      const before = lstat(path);
      while (lstat(path).changeNanos === before.changeNanos) Deno.chmodSync(path, 0o600);
      assertEquals([look(), look()], [undefined, undefined]);
    }
    Deno.writeTextFileSync(`${path}-new`, "three");
    index.add("a", version(lstat(path)), ["two"]);
    assertEquals(look(), ["two"]);
    Deno.renameSync(`${path}-new`, path);
    assertEquals(look(), undefined);
  },
);

indexCase("it is written anew when most of it is about layers that are gone", (store) => {
  write(store, 0, 500);
  const { size } = Deno.statSync(store.file);
  const index = store.open();
  index.load(10);
  index.save(idsOf(10));
  assert(Deno.statSync(store.file).size < size / 20);
  assertEquals(known(store, 500), numbers(0, 10));
});

indexCase("a full file system is no reason for a warning, and nothing is left on it", (store) => {
  mount({ source: "tmpfs", target: store.path, type: "tmpfs", data: "size=256k,mode=755" });
  write(store, 0, 10);
  const before = Deno.readFileSync(store.file);
  const filler = `${store.path}/filler`;
  {
    using file = Deno.openSync(filler, { write: true, create: true });
    try {
      for (;;) file.writeSync(new Uint8Array(4096));
    } catch { /* It is full. */ }
  }
  write(store, 10, 200); // Does not fit behind what there is.
  assertEquals(known(store, 200).slice(0, 10), numbers(0, 10));
  Deno.removeSync(store.file);
  write(store, 0, 200); // Nor beside it.
  assertEquals(
    [...Deno.readDirSync(`${store.path}/test/.veneer`)].filter(({ isFile }) => isFile),
    [],
  );
  Deno.removeSync(filler);
  write(store, 0, 200);
  assertEquals(known(store, 200), numbers(0, 200));
  assertEquals(store.warnings, []);
  assert(before.length > 0);
});

indexCase("whoever finds it being written leaves it", (store) => {
  write(store, 0, 1);
  const before = Deno.readTextFileSync(store.file);
  {
    using lock = new RunState(Home.open(store.path, "test", IDENTITY)).tryLockNamed("children");
    assert(lock !== undefined);
    const started = performance.now();
    write(store, 1, 2);
    // Waiting for it, as for other locks, would end after two minutes.
    assert(performance.now() - started < 60_000);
  }
  assertEquals(Deno.readTextFileSync(store.file), before);
  write(store, 1, 2);
  assertEquals(known(store, 2), [0, 1]);
});
