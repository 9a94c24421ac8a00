/** Keys and names: any text will do, whatever it says to a file system, a shell or a database. */
import { assertEquals } from "@std/assert";
import { commitChanged, mounted, write } from "./mounting.ts";
import { namesIn } from "./store.ts";
import type { SnapshotterSuite } from "./suite.ts";
import { assertFails } from "../../support/errors.ts";
import { names } from "../../support/files.ts";

/** Not above what a name may have in bytes of UTF-8. */
const FITTING = [
  "with spaces",
  " ",
  "k8s.io/12/sha256:0123456789abcdef",
  "äöü 你好 🐳",
  "e\u0301", // Not the same as the next one.
  "é",
  "x".repeat(4096),
  "é".repeat(2048),
  "🐳".repeat(1024),
];

/** What would go astray in a path, a query, an option or a terminal. */
const HOSTILE = [
  "../../x",
  "/etc/passwd",
  "a/b",
  "a/../b",
  ".",
  "..",
  ".veneer",
  "metadata.db",
  "a\nb",
  "\n",
  "\x1b[2J",
  "-rf",
  "--help",
  "a,b:c=d\\e",
  "%s%n",
  "'; DROP TABLE snapshots; --",
  '"',
  "*",
  "_",
  "$(touch /tmp/x)",
  "constructor",
  "__proto__",
  "\u202e",
];

const REFUSED = ["", "a\0b", "\0", "x".repeat(4097), "é".repeat(2049), "\ud800", "a\udfffb"];

export function keys(suite: SnapshotterSuite): void {
  for (const [what, all] of [["long and foreign", FITTING], ["hostile", HOSTILE]] as const) {
    suite.case(`keys and names may be ${what}`, ({ snapshots, scratch, root, reopen }) => {
      const above = namesIn(`${root}/..`);
      for (const text of all) {
        snapshots.prepare(text, "");
        mounted(snapshots, text, scratch, (root) => write(`${root}/file`, text));
        assertFails("already exists", () => snapshots.prepare(text, ""));
        assertFails("not found", () => snapshots.stat(`${text.slice(0, 1000)}?`));
        snapshots.commit("between", text);
        snapshots.prepare("key", "between");
        snapshots.commit(text, "key"); // The very name that the key had.
        assertFails("failed precondition", () => snapshots.mounts(text));
        assertFails("failed precondition", () => snapshots.remove("between"));
        const child = `child ${text}`.slice(0, 2000);
        snapshots.view(child, text, { labels: new Map([["l", text.slice(0, 1000)]]) });
        assertEquals(reopen().stat(child).parent, text);
        const read = mounted(
          snapshots,
          child,
          scratch,
          (root) => Deno.readTextFileSync(`${root}/file`),
        );
        assertEquals(read, text);
        assertEquals(
          [...snapshots.walk()].map(({ name }) => name).sort(),
          [
            "between",
            child,
            text,
          ].sort(),
        );
        const quoted = JSON.stringify(text);
        if (/^[ -~]*$/.test(text)) {
          assertEquals([...snapshots.walk([`parent==${quoted}`])].map(({ name }) => name), [child]);
        }
        for (const name of [child, text, "between"]) snapshots.remove(name);
        assertEquals([...snapshots.walk()], []);
      }
      assertEquals(namesIn(`${root}/..`), above);
    });
  }

  suite.case("many keys at once are not mistaken for each other", ({ snapshots, scratch }) => {
    const all = [...FITTING, ...HOSTILE];
    commitChanged(snapshots, scratch, { name: "base" });
    for (const [i, text] of all.entries()) {
      snapshots.prepare(text, i % 2 ? "base" : "");
      mounted(snapshots, text, scratch, (root) => write(`${root}/${i}`, ""));
    }
    assertEquals(new Set([...snapshots.walk()].map(({ layer }) => layer)).size, all.length + 1);
    for (const [i, text] of all.entries()) {
      const found = mounted(snapshots, text, scratch, (root) => [...Deno.readDirSync(root)]);
      assertEquals(found.map(({ name }) => name), [`${i}`], JSON.stringify(text.slice(0, 50)));
    }
  });

  suite.case("what could be no key is refused", ({ snapshots, scratch }) => {
    snapshots.prepare("key", "");
    const before = [...snapshots.walk()];
    for (const text of REFUSED) {
      const calls: (() => unknown)[] = [
        () => snapshots.prepare(text, ""),
        () => snapshots.view(text, ""),
        () => snapshots.commit(text, "key"),
        () => snapshots.commit("name", text),
        () => snapshots.mounts(text),
        () => snapshots.mount(text),
        () => snapshots.mount(text, scratch),
        () => snapshots.unmount(text),
        () => snapshots.stat(text),
        () => snapshots.remove(text),
        () => snapshots.delete(text),
        () => snapshots.usage(text),
        () => snapshots.parent(text),
        () => snapshots.exists(text),
        () => snapshots.update({ name: text, labels: new Map() }),
      ];
      if (text !== "") calls.push(() => snapshots.prepare("new", text));
      for (const call of calls) assertFails("invalid argument", () => void call());
    }
    assertEquals([...snapshots.walk()], before);
  });

  suite.case("a key is free again after its snapshot is gone", ({ snapshots, scratch }) => {
    commitChanged(snapshots, scratch, { name: "base" });
    const look = () =>
      mounted(snapshots, "key", scratch, (root) => {
        const found = names(root);
        write(`${root}/own`, "");
        return found;
      });
    for (let round = 0; round < 3; round++) {
      snapshots.prepare("key", "base");
      assertEquals(look(), [], "nothing of the one before");
      snapshots.remove("key");
      snapshots.prepare("key", "");
      assertEquals(look(), []);
      snapshots.commit("name", "key");
      snapshots.view("key", "name");
      snapshots.remove("key");
      snapshots.remove("name");
    }
  });
}
