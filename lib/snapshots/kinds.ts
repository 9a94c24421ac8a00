/**
 * Checks whether an operation is allowed for a snapshot's kind.
 *
 * @module
 */
import { VeneerError } from "../base/errors.ts";
import { shown } from "./keys.ts";
import type { Snapshot } from "./records.ts";

/** @throws {VeneerError} `failed precondition` for a committed snapshot */
export function checkMountable({ name, kind }: Snapshot): void {
  if (kind !== "committed") return;
  throw new VeneerError(
    "failed precondition",
    `snapshot ${shown(name)} is committed: prepare one on it, or a view, and mount that`,
  );
}

/** @throws {VeneerError} `failed precondition` unless the snapshot is active */
export function checkActive({ name, kind }: Snapshot): void {
  if (kind === "active") return;
  throw new VeneerError(
    "failed precondition",
    `snapshot ${shown(name)} is ${kind === "view" ? "a view" : "committed"} and never changes; ` +
      "prepare another one",
  );
}

/** @throws {VeneerError} `failed precondition` unless the snapshot is committed */
export function checkCommitted({ name, kind }: Snapshot): void {
  if (kind === "committed") return;
  throw new VeneerError(
    "failed precondition",
    `snapshot ${shown(name)} is ${kind === "view" ? "a view" : "active"}, not committed`,
  );
}
