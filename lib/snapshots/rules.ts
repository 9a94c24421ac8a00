/**
 * The rules for the names, kinds and parents of snapshots: whether a change may be made, and if not,
 * the error that says why.
 *
 * Outside of a transaction they are only asked early, before work that would be in vain: another
 * process may change the records meanwhile.
 *
 * @module
 */
import { VeneerError } from "../base/errors.ts";
import { shown } from "./keys.ts";
import type { Snapshot, Statements } from "./records.ts";

/** The rules, on the records of one store. */
export class Rules {
  readonly #statements: Statements;

  constructor(statements: Statements) {
    this.#statements = statements;
  }

  /** The name of a snapshot's parent; `""` for none. */
  parentName({ parent }: Snapshot): string {
    return parent === null ? "" : this.#statements.name.get(parent)!.name;
  }

  /**
   * Checks that a snapshot with a new layer can be recorded.
   *
   * @returns the parent's id
   * @throws {VeneerError} `already exists` for the name or the layer; `not found` or `invalid
   * argument` for the parent
   */
  checkNew(layer: string, name: string, parent: string): number | null {
    const on = this.parentId(parent, "invalid argument");
    const [found] = this.#statements.occupied.get(name, layer) ?? [];
    if (found === undefined) return on;
    this.checkFree(name);
    throw new VeneerError(
      "already exists",
      `layer ${layer} of snapshot ${shown(name)} is another snapshot's; choose another name`,
    );
  }

  /** @throws {VeneerError} `already exists` if a snapshot has the name, or is being made for it */
  checkFree(name: string): void {
    const [found] = this.#statements.taken.get(name, name) ?? [];
    if (found === undefined) return;
    if (found === "snapshot") {
      throw new VeneerError(
        "already exists",
        `snapshot ${shown(name)} exists; choose another name`,
      );
    }
    throw beingMade(name);
  }

  /** @throws {VeneerError} `not found`, or `invalid argument` if the parent is not committed */
  checkParent(parent: string): void {
    this.parentId(parent, "invalid argument");
  }

  /** @throws {VeneerError} `not found`, or `code` if the parent is not committed */
  parentId(parent: string, code: "invalid argument" | "failed precondition"): number | null {
    if (parent === "") return null;
    const row = this.#statements.parent.get(parent);
    if (row === undefined) throw notFound(parent, "parent");
    const [id, kind] = row;
    if (kind === "committed") return id;
    throw new VeneerError(code, `parent ${shown(parent)} is not committed: commit it first`);
  }

  /**
   * Checks that a snapshot can be committed, on another parent if one is given.
   *
   * @returns the parent's id
   * @throws {VeneerError} as `Store.commit`
   */
  checkCommit(active: Snapshot, name: string, parent: string): number | null {
    this.checkFree(name);
    checkActive(active);
    if (parent === "") return active.parent;
    const own = this.parentName(active);
    if (parent === own) return active.parent;
    if (own === "") return this.parentId(parent, "failed precondition");
    throw new VeneerError(
      "invalid argument",
      `snapshot ${shown(active.name)} was prepared on ${shown(own)}: it cannot be committed on ${
        shown(parent)
      }`,
    );
  }

  /**
   * @throws {VeneerError} `failed precondition` with the names of a snapshot's children, or of the
   * images whose uppermost layer it is
   */
  checkChildless({ id, name }: Snapshot): void {
    const some = (found: readonly { name: string }[]) =>
      [...found.slice(0, 3).map(({ name }) => shown(name)), ...found.slice(3).map(() => "…")]
        .join(", ");
    const children = this.#statements.children.all(id);
    if (children.length > 0) {
      throw new VeneerError(
        "failed precondition",
        `snapshot ${shown(name)} has children: ${some(children)}; remove them first`,
      );
    }
    const images = this.#statements.images().all(id);
    if (images.length === 0) return;
    throw new VeneerError(
      "failed precondition",
      `snapshot ${shown(name)} is the uppermost layer of an image: ${
        some(images)
      }; remove the image first`,
    );
  }
}

/** The error for a snapshot that is missing. */
export function notFound(name: string, what = "snapshot"): VeneerError {
  return new VeneerError("not found", `${what} ${shown(name)} does not exist`, {
    remedy: { kind: "list", of: "snapshots" },
  });
}

/** The error for a name for which another process is making a snapshot. */
export function beingMade(name: string): VeneerError {
  return new VeneerError(
    "already exists",
    `snapshot ${shown(name)} is being made by another process; choose another name`,
  );
}

/** @throws {VeneerError} `failed precondition` if it is not active */
function checkActive({ name, kind }: Snapshot): void {
  if (kind === "active") return;
  const what = kind === "view" ? "a view" : "committed";
  throw new VeneerError(
    "failed precondition",
    `snapshot ${shown(name)} is ${what}: only an active one can be committed`,
  );
}
