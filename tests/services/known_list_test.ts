/** A kept list of snapshots is the one that would be read now. */
import { assert, assertEquals } from "@std/assert";
import { isOffered, withoutPrivate } from "../../lib/images/offer.ts";
import { DIFF_ID, OFFERED } from "../../lib/images/records.ts";
import { KnownList } from "../../lib/services/containerd/known_list.ts";
import { writeList } from "../../lib/services/containerd/messages.ts";
import { Store } from "../../lib/snapshots/store.ts";
import { tempDir } from "../support/cases.ts";
import { confinedAt } from "../support/confined_at.ts";
import { type Random, randomOf } from "../support/random.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** The messages of a list, which the receiver destroys. */
function emitted(list: KnownList, store: Store): string[] {
  const messages: Bytes[] = [];
  list.emit(store, (message) => messages.push(message));
  return messages.map((message) => {
    const hex = message.toHex();
    message.fill(255);
    return hex;
  });
}

/** What a list is to be. */
function expected(store: Store): string[] {
  const shown = [...store.walk()].filter((info) => !isOffered(info)).map(withoutPrivate);
  return Array.from(writeList(shown), (message) => message.toHex());
}

/** Makes a snapshot whose layer has a name that no other ever has. */
function create(store: Store, key: string, parent: string, labels: Record<string, string>): void {
  const layer = store.newLayer();
  store.reserve(layer, key, parent);
  const pairs = new Map(Object.entries(labels));
  store.adopt({ layer, name: key, kind: "active", parent, labels: pairs });
}

/** Changes a snapshot at random: it is made, relabelled, committed, offered, adopted or removed. */
function change(store: Store, choose: Random): void {
  const all = [...store.walk()], committed = all.filter(({ kind }) => kind === "committed");
  const one = all[choose(Math.max(1, all.length))];
  const isParent = all.some(({ parent }) => parent === one?.name);
  const label = (sql: string) => store.database.prepare(sql).run(one.layer);
  const id = "(SELECT id FROM snapshots WHERE layer = ?)";
  const action = choose(6);
  if (action < 2 || one === undefined) {
    const name = `${"x".repeat(choose(60))}${choose(1e6)}`;
    if (store.find(name) !== undefined) return;
    const on = committed.length > 0 && choose(2) > 0
      ? committed[choose(committed.length)].name
      : "";
    create(store, name, on, choose(2) > 0 ? { [DIFF_ID]: "sha256:1", é: "ü" } : {});
  } else if (action === 2) store.relabel(one.name, () => new Map([["at", `${choose(1e6)}`]]));
  else if (action === 3 && one.kind === "active") {
    const name = `c${choose(1e6)}`;
    if (store.find(name) !== undefined) return;
    store.commit(store.require(one.name), { name, labels: one.labels });
  } else if (action === 4 && one.labels.has(OFFERED)) {
    label(`DELETE FROM labels WHERE key = '${OFFERED}' AND snapshot = ${id}`);
  } else if (action === 4) {
    label(`INSERT INTO labels (snapshot, key, value) VALUES (${id}, '${OFFERED}', 'x')`);
  } else if (action === 5 && !isParent) store.remove(store.require(one.name));
}

Deno.test("known list: after any changes, by any opener, it is the one that is read", () => {
  using dir = tempDir();
  const path = confinedAt(dir.path, "metadata.db");
  using store = Store.open(path);
  using other = Store.open(path);
  const choose = randomOf(22);
  for (let n = 0; n < 240; n++) create(store, `first ${n}`, "", {});
  const kept = new KnownList(), small = new KnownList(4096);
  for (let turn = 0; turn < 150; turn++) {
    for (let n = choose(4); n > 0; n--) change(choose(2) > 0 ? store : other, choose);
    const wanted = expected(store);
    assertEquals(emitted(kept, store), wanted, `turn ${turn}`);
    assertEquals(emitted(kept, store), wanted, `turn ${turn}, without a change`);
    assertEquals(emitted(small, store), wanted, `turn ${turn}, of a list that is too long to keep`);
  }
});

Deno.test("known list: only changed records are read", () => {
  using dir = tempDir();
  using store = Store.open(confinedAt(dir.path, "metadata.db"));
  for (let n = 0; n < 500; n++) create(store, `${n}`, "", {});
  const read: string[] = [];
  const listing = {
    get version() {
      return store.version;
    },
    *listed(without: string) {
      for (const { layer, updated, info } of store.listed(without)) {
        const told = () => {
          const found = info();
          read.push(found.name);
          return found;
        };
        yield { layer, updated, info: told };
      }
    },
  };
  const list = new KnownList();
  const reads = () => {
    read.length = 0;
    list.emit(listing, () => {});
    return read.toSorted();
  };
  assertEquals(reads().length, 500);
  assertEquals(reads(), []);
  for (const name of ["0", "77", "499"]) store.relabel(name, () => new Map([["a", "b"]]));
  store.remove(store.require("78"));
  create(store, "new", "", {});
  assertEquals(reads(), ["0", "499", "77", "new"]);
});

Deno.test("known list: nothing is kept of a list that fails", () => {
  using dir = tempDir();
  using store = Store.open(confinedAt(dir.path, "metadata.db"));
  for (let n = 0; n < 250; n++) create(store, `${n}`, "", {});
  const list = new KnownList();
  let messages = 0;
  const fail = () => {
    if (++messages === 2) throw new Error("the client is gone");
  };
  let failed = false;
  try {
    list.emit(store, fail);
  } catch {
    failed = true;
  }
  assert(failed);
  assertEquals(emitted(list, store), expected(store));
});
