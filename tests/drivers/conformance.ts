/**
 * What every graph driver does, as cases that any driver can be put through.
 *
 * A driver's test file calls {@linkcode conformance}; every case has a store of its own on the file system
 * under test, and fails where it leaves anything mounted or staged.
 */
import { contract } from "./conformance/contract.ts";
import { diffs } from "./conformance/diffs.ts";
import { failures } from "./conformance/failures.ts";
import { idMaps } from "./conformance/id_maps.ts";
import { peers } from "./conformance/peers.ts";
import { type Subject, Suite } from "./conformance/suite.ts";

export type { Subject };

/** Registers every case for a driver. */
export function conformance(subject: Subject): void {
  const suite = new Suite(subject);
  for (const register of [peers, contract, diffs, failures, idMaps]) register(suite);
}
