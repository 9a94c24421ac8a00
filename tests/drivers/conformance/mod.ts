/**
 * What every graph driver does, as cases that any driver can be put through.
 *
 * A driver's test file calls {@linkcode conformance}; every case has a store of its own on the file system
 * under test, and fails where it leaves anything mounted or staged.
 */
import { contract } from "./contract.ts";
import { diffs } from "./diffs.ts";
import { door } from "./door.ts";
import { failures } from "./failures.ts";
import { idMaps } from "./id_maps.ts";
import { overParents } from "./over_parents.ts";
import { peers } from "./peers.ts";
import { type Subject, Suite } from "./suite.ts";

export type { Subject };

/** Registers every case for a driver. */
export function conformance(subject: Subject): void {
  const suite = new Suite(subject);
  for (const register of [peers, contract, diffs, door, failures, idMaps, overParents]) {
    register(suite);
  }
}
