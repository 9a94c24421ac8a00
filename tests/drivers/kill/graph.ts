/**
 * Killing a graph driver before each system call of its operations, and looking at what is left.
 */
import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { openDriver } from "../../support/drivers.ts";
import type { GraphDriver } from "../../../lib/graph/driver.ts";
import { IDENTITY } from "../../../lib/base/id_maps.ts";
import { lacksProgram, mountPoints, needs, type TempDir, TEST_FS } from "../../support/cases.ts";
import { killBeforeEveryCall } from "./killing.ts";
import { apply, fill, treeOf } from "../../support/layers.ts";
import { tarOf } from "../../support/trees.ts";

const OPERATIONS = ["create", "get", "put", "apply", "diff", "remove", "cleanup"] as const;
type Operation = typeof OPERATIONS[number];

/** What of a driver is killed where not all of it can run. */
export interface KillOptions {
  /** Begins the cases' names; the driver's name where left out. */
  readonly title?: string;
  readonly operations?: readonly Operation[];
  /** A layer's whole tree, as far as it can be had. */
  readonly tree?: typeof treeOf;
  /** Makes a root ready for a store. */
  readonly makeRoot?: (root: string) => void;
}

/** A driver, and how it is treated. */
interface Victim extends Required<KillOptions> {
  readonly driver: string;
  readonly lost: (home: string) => string[];
}

/** Why processes are not killed here, if they are not. */
export const lacksKilling: string | undefined = lacksProgram("strace") ??
  (TEST_FS.includes("+") ? "it ran on the machine's own kernel" : undefined);

/** Registers the kill cases of a driver; `lost` names what else must not be left, if anything is. */
export function killCases(
  driver: string,
  lacking: string | undefined,
  lost: (home: string) => string[],
  options: KillOptions = {},
): void {
  const victim: Victim = {
    driver,
    lost,
    title: driver,
    operations: OPERATIONS,
    tree: treeOf,
    makeRoot: () => {},
    ...options,
  };
  for (const operation of victim.operations) {
    needs(
      lacking ?? lacksKilling,
      `${victim.title}: killed before every system call of ${operation}`,
      () =>
        killBeforeEveryCall({
          name: `${victim.title} ${operation}`,
          script: "graph_child.ts",
          arguments: ({ path }) => [`${path}/root`, driver, operation, `${path}/layer.tar`],
          prepare: (dir) => prepare(dir, victim),
          verify: (dir, before) => verify(dir, victim, operation, before),
        }),
    );
  }
}

/** What a store is before the operation: its trees. */
interface Before {
  readonly base: Map<string, string>;
  readonly layer: Map<string, string>;
  readonly applied: Map<string, string>;
}

const openStore = (dir: TempDir, driver: string): GraphDriver =>
  openDriver({
    root: join(dir.path, "root"),
    driver,
    options: [],
    idMaps: IDENTITY,
    warn: () => {},
  });

/** A base with files, a layer on it with changes (none, for `apply`), and what the tar makes of that. */
function prepare(dir: TempDir, { driver: name, tree: treeOf, makeRoot }: Victim): Before {
  makeRoot(join(dir.path, "root"));
  const driver = openStore(dir, name);
  fill(driver, "bottom", (root) => {
    Deno.mkdirSync(`${root}/directory`);
    for (const file of ["kept", "removed", "directory/inside"]) {
      Deno.writeTextFileSync(`${root}/${file}`, file);
    }
  });
  const tree = join(dir.path, "tree");
  Deno.mkdirSync(join(tree, "directory/new"), { recursive: true });
  Deno.writeTextFileSync(join(tree, "added"), "added".repeat(20_000));
  Deno.writeTextFileSync(join(tree, "directory/.wh.inside"), "");
  Deno.writeTextFileSync(join(tree, ".wh.removed"), "");
  const tar = tarOf(tree, join(dir.path, "layer.tar"));
  driver.create("layer", { parent: "bottom" });
  driver.create("applied", { parent: "bottom" });
  apply(driver, "applied", tar);
  const before = {
    base: treeOf(driver, "bottom"),
    layer: treeOf(driver, "layer"),
    applied: treeOf(driver, "applied"),
  };
  driver.remove("applied");
  driver.cleanup();
  return before;
}

/** What must hold whatever was killed. */
function verify(
  dir: TempDir,
  { driver: name, operations, tree: treeOf, lost }: Victim,
  operation: Operation,
  before: Before,
): void {
  const driver = openStore(dir, name);
  assertEquals(treeOf(driver, "bottom"), before.base);
  const ids = driver.layers().map(({ id }) => id);
  const optional = operation === "create" ? ["new"] : operation === "remove" ? ["layer"] : [];
  for (const id of ["bottom", "layer"]) assert(ids.includes(id) || optional.includes(id), id);
  for (const id of ids) assert(["bottom", "layer"].includes(id) || optional.includes(id), id);

  for (const { id, incomplete } of driver.layers()) {
    if (incomplete) {
      assertEquals([operation, id], ["apply", "layer"]);
      apply(driver, id, join(dir.path, "layer.tar"));
      assertEquals(treeOf(driver, id), before.applied);
    } else if (id !== "bottom") {
      const tree = treeOf(driver, id);
      const applied = operation === "apply" && tree.has("/added");
      assertEquals(tree, applied ? before.applied : before.layer);
    }
  }
  // A count whose process was killed stays while its mount does: what `veneer umount` takes away.
  while (driver.exists("layer") && driver.layer("layer").references > 0) driver.put("layer");
  driver.cleanup();
  assertEquals(mountPoints(dir.path), []);
  assertEquals(lost(driver.home), []);
  for (const id of ["new", "layer", "bottom"]) {
    if (driver.exists(id)) driver.remove(id);
  }
  assertEquals(driver.layers(), []);
  driver.create("bottom");
  driver.create("new", { parent: "bottom" });
  if (operations.includes("get")) {
    driver.get("new");
    driver.put("new");
  }
  driver.cleanup();
  assertEquals(lost(driver.home), []);
}
