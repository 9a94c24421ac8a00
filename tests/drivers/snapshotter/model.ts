/** Random operations, held to a model: a map of what each snapshot should be. */
import { IS_LONG } from "../../support/cases.ts";
import { assert, assertEquals } from "@std/assert";
import { VeneerError } from "../../../lib/base/errors.ts";
import type { SnapshotKind, Snapshotter } from "../../../lib/snapshots/snapshotter.ts";
import { changeAtRandom, describeTree } from "../../support/trees.ts";
import { randomOf } from "../../support/random.ts";
import { mounted } from "./mounting.ts";
import type { SnapshotterSuite, Store } from "./suite.ts";

/** What a snapshot should be. */
interface Expected {
  kind: SnapshotKind;
  readonly parent: string;
  labels: Map<string, string>;
  tree: Map<string, string>;
}

const OPERATIONS = 60;

export function model(suite: SnapshotterSuite): void {
  const seeds = IS_LONG ? 100 : 4;
  suite.case("random operations do what a model says", (store) => {
    for (let seed = 1; seed <= seeds; seed++) {
      const model = new Model(store, randomOf(seed));
      for (let step = 0; step < OPERATIONS; step++) {
        try {
          model.step();
        } catch (cause) {
          throw new Error(`seed ${seed}, after ${model.log.join("; ")}`, { cause });
        }
      }
      model.end();
    }
  });
}

class Model {
  readonly log: string[] = [];
  readonly #all = new Map<string, Expected>();
  #snapshots: Snapshotter;

  constructor(readonly store: Store, readonly pick: (limit: number) => number) {
    this.#snapshots = store.snapshots;
  }

  step(): void {
    const [a, b] = [this.#name(), this.#name()];
    switch (this.pick(10)) {
      case 0:
      case 1:
      case 2:
        return this.#make("active", a, this.pick(3) ? b : "");
      case 3:
        return this.#make("view", a, this.pick(3) ? b : "");
      case 4:
      case 5:
        return this.#commit(a, b);
      case 6:
        return this.#remove(a);
      case 7:
        return this.#change(a);
      case 8:
        return this.#update(a);
      case 9:
        if (this.pick(4) === 0) this.#snapshots = this.store.reopen();
        return this.#compare();
    }
  }

  /** Looks at everything a last time, and removes it. */
  end(): void {
    this.#compare();
    while (this.#all.size > 0) {
      for (const name of [...this.#all.keys()]) {
        if (!this.#hasChildren(name)) this.#remove(name);
      }
    }
    this.#compare();
  }

  #name(): string {
    return `${"abcdefgh"[this.pick(8)]}/${this.pick(2)}`;
  }

  /** Does something that must fail with this code, or, where it is `undefined`, work. */
  #does(what: string, code: string | undefined, operation: () => void): boolean {
    this.log.push(what);
    try {
      operation();
    } catch (error) {
      if (!(error instanceof VeneerError)) throw error;
      assertEquals(error.code, code, `${what}: ${error.message}`);
      return false;
    }
    assertEquals(code, undefined, `${what} should have failed`);
    return true;
  }

  #make(kind: "active" | "view", key: string, parent: string): void {
    const below = this.#all.get(parent);
    // With two things wrong, either may be said.
    const wrong = this.#all.has(key) ? "already exists" : undefined;
    const parentWrong = parent === "" || below?.kind === "committed"
      ? undefined
      : below === undefined
      ? "not found"
      : "invalid argument";
    if (wrong !== undefined && parentWrong !== undefined) return;
    const labels = this.#labels();
    const make = kind === "active" ? "prepare" : "view";
    const done = this.#does(
      `${make} ${key} on ${parent || "nothing"}`,
      wrong ?? parentWrong,
      () => this.#snapshots[make](key, parent, { labels }),
    );
    if (done) this.#all.set(key, { kind, parent, labels, tree: below?.tree ?? new Map() });
  }

  #commit(name: string, key: string): void {
    const active = this.#all.get(key);
    const wrong = active === undefined
      ? "not found"
      : active.kind !== "active"
      ? "failed precondition"
      : undefined;
    if (wrong !== undefined && this.#all.has(name)) return;
    const code = wrong ?? (this.#all.has(name) ? "already exists" : undefined);
    const labels = this.#labels();
    const done = this.#does(
      `commit ${key} as ${name}`,
      code,
      () => this.#snapshots.commit(name, key, { labels }),
    );
    if (!done) return;
    this.#all.delete(key);
    this.#all.set(name, { ...active!, kind: "committed", labels });
  }

  #remove(name: string): void {
    const code = !this.#all.has(name)
      ? "not found"
      : this.#hasChildren(name)
      ? "failed precondition"
      : undefined;
    if (this.#does(`remove ${name}`, code, () => this.#snapshots.remove(name))) {
      this.#all.delete(name);
    }
  }

  #change(key: string): void {
    const expected = this.#all.get(key);
    if (expected?.kind !== "active") return;
    this.log.push(`change ${key}`);
    mounted(this.#snapshots, key, this.store.scratch, (root) => {
      assertEquals(describeTree(root), expected.tree);
      changeAtRandom(root, this.pick, 8);
      expected.tree = describeTree(root);
    });
  }

  #update(name: string): void {
    const labels = this.#labels();
    const code = this.#all.has(name) ? undefined : "not found";
    const one = this.pick(2) === 0;
    const fields = one ? ["labels.a"] : undefined;
    const done = this.#does(
      `update ${name}`,
      code,
      () => void this.#snapshots.update({ name, labels }, fields),
    );
    if (!done) return;
    const expected = this.#all.get(name)!;
    if (!one) expected.labels = labels;
    else {
      expected.labels = new Map(expected.labels);
      const value = labels.get("a");
      if (value === undefined) expected.labels.delete("a");
      else expected.labels.set("a", value);
    }
  }

  /** Holds all that can be listed, and one tree, to the model. */
  #compare(): void {
    this.log.push("compare");
    const told = [...this.#snapshots.walk()].map(({ name, kind, parent, labels }) => ({
      name,
      kind,
      parent,
      labels: [...labels].sort(),
    }));
    const expected = [...this.#all].map(([name, { kind, parent, labels }]) => ({
      name,
      kind,
      parent,
      labels: [...labels].sort(),
    })).sort((a, b) => a.name < b.name ? -1 : 1);
    assertEquals(told, expected);
    const filtered = [...this.#snapshots.walk(["kind==active,labels.a", "labels.b==2"])];
    assertEquals(
      filtered.map(({ name }) => name),
      expected.filter(({ kind, labels }) => {
        const own = new Map(labels);
        return kind === "active" && own.has("a") || own.get("b") === "2";
      }).map(({ name }) => name),
    );
    this.#compareTrees();
  }

  #compareTrees(): void {
    for (const [name, { kind, tree }] of this.#all) {
      if (this.pick(3) > 0) continue;
      const key = kind === "committed" ? "looking" : name;
      if (kind === "committed") this.#snapshots.view(key, name);
      const found = mounted(this.#snapshots, key, this.store.scratch, describeTree);
      assertEquals(found, tree, `${name}, ${kind}`);
      if (kind === "committed") this.#snapshots.remove(key);
    }
    assert(!this.#snapshots.exists("looking"));
  }

  #hasChildren(name: string): boolean {
    return [...this.#all.values()].some(({ parent }) => parent === name);
  }

  #labels(): Map<string, string> {
    return new Map(
      ["a", "b"].filter(() => this.pick(2)).map((key) => [key, `${this.pick(3)}`]),
    );
  }
}
