/** How a conformance case is run: on a store of its own, of which nothing may be left. */
import { assertEquals } from "@std/assert";
import type { GraphDriver } from "../../../lib/graph/driver.ts";
import { IDENTITY, type IdMaps } from "../../../lib/base/id_maps.ts";
import { mountPoints, needs } from "../../support/cases.ts";
import { storeDir } from "../../support/store_dir.ts";
import { names } from "../../support/files.ts";

/** A driver under test. */
export interface Subject {
  /** Begins every case's name. */
  readonly name: string;
  /** Opens a store, the same each time for the same root. */
  readonly open: (root: string, idMaps: IdMaps) => GraphDriver;
  /** Why the driver does not run here, if it does not. */
  readonly lacking?: string;
  /** How many layers may lie below another. */
  readonly maxDepth: number;
  /** Why layers cannot have a size here, if they cannot. */
  readonly lackingQuota?: string;
  /** A size that a layer can have, in MiB; 8 where left out. */
  readonly quota?: number;
  /** How many MiB a layer may take beyond what is written to it; 1 where left out. */
  readonly overhead?: number;
  /** The longest id, in bytes; 200 where left out. */
  readonly longestId?: number;
}

/** A store of a case's own. */
export interface Store extends Disposable {
  readonly driver: GraphDriver;
  /** A directory for the case's files, outside the store. */
  readonly scratch: string;
  readonly root: string;
  /** The same store as another process would open it, with the same id maps or others. */
  reopen(idMaps?: IdMaps): GraphDriver;
}

/** Registers cases for a driver. */
export class Suite {
  constructor(readonly subject: Subject) {}

  case(name: string, body: (store: Store) => void, lacking = this.subject.lacking): void {
    this.caseMapped(name, IDENTITY, body, lacking);
  }

  caseMapped(
    name: string,
    idMaps: IdMaps,
    body: (store: Store) => void,
    lacking = this.subject.lacking,
  ): void {
    needs(lacking, `${this.subject.name}: ${name}`, () => {
      using store = this.open(idMaps);
      body(store);
      assertNothingLeft(store);
    });
  }

  open(idMaps: IdMaps): Store {
    const dir = storeDir();
    const root = `${dir.path}/root`, scratch = `${dir.path}/scratch`;
    Deno.mkdirSync(scratch);
    const reopen = (maps = idMaps) => this.subject.open(root, maps);
    return {
      driver: reopen(),
      scratch,
      root,
      reopen,
      [Symbol.dispose]: () => dir[Symbol.dispose](),
    };
  }
}

/** Everything that a driver took is given back by `put` and `cleanup`. */
function assertNothingLeft({ driver, root }: Store): void {
  for (const { id, references } of driver.layers()) assertEquals([id, references], [id, 0]);
  driver.cleanup();
  assertEquals(mountPoints(root), []);
  const staging = `${driver.home}/.veneer/staging`;
  assertEquals(names(staging), []);
}
