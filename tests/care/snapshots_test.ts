/** `check` on stores of snapshots: the database, and the layers that it names. */
// @runs on ext4
// @runs long on xfs
import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { openSnapshotter } from "../support/drivers.ts";
import { lacksFileSystem, must, needs, tempDir } from "../support/cases.ts";
import type { Repaired } from "../../lib/care/repair.ts";
import { assertFound, check, type Damage, DIRECTORY_DAMAGES, findEach } from "./support.ts";

const lacking = lacksFileSystem("overlay");

/** The layers of the snapshots. */
type Layers = Readonly<Record<"base" | "app" | "work", string>>;

/** A damage, which is given the layers; `<NAME>` is a snapshot's. */
type Case = Damage<Layers>;

/** Runs SQL on the database that is at rest. */
function sql(home: string, ...statements: string[]): void {
  const { DatabaseSync } = process.getBuiltinModule("node:sqlite");
  using database = new DatabaseSync(join(home, "metadata.db"));
  for (const statement of statements) database.exec(statement);
}

const database = (home: string) => join(home, "metadata.db");

/** Removes the database's log, which could have all of it. */
function alone(home: string): string {
  sql(home, "PRAGMA wal_checkpoint(TRUNCATE)");
  for (const suffix of ["-wal", "-shm", "-reserve"]) {
    try {
      Deno.removeSync(`${database(home)}${suffix}`);
    } catch { /* it was not there */ }
  }
  return database(home);
}

const CASES: Case[] = [
  {
    name: "mount points in a link's target",
    damage: (home) => {
      Deno.mkdirSync(join(home, "mounts"), { recursive: true });
      Deno.removeSync(join(home, "mounts"));
      Deno.symlinkSync("/tmp", join(home, "mounts"));
    },
    found: ["mounts-not-a-directory mounts"],
    breaks: [],
  },
  ...Object.entries(DIRECTORY_DAMAGES).map(([name, damage]): Case => ({
    name: `files ${name}`,
    damage: (home, { app }) => damage(join(home, "snapshots", app, "fs")),
    found: [
      `snapshot-fs-${name === "removed" ? "missing" : "not-a-directory"} snapshots/<app>/fs`,
    ],
    breaks: ["app", "work"],
    lost: ["app", "work"],
  })),
  ...Object.entries(DIRECTORY_DAMAGES).map(([name, damage]): Case => ({
    name: `work directory ${name}`,
    damage: (home, { work }) => damage(join(home, "snapshots", work, "work")),
    found: [
      `snapshot-work-${name === "removed" ? "missing" : "not-a-directory"} snapshots/<work>/work`,
    ],
    breaks: ["work"],
  })),
  {
    name: "layer removed",
    damage: (home, { base }) => Deno.removeSync(join(home, "snapshots", base), { recursive: true }),
    found: ["snapshot-fs-missing snapshots/<base>/fs"],
    breaks: ["app", "base", "work"],
    lost: ["app", "base", "work"],
  },
  {
    name: "layer of no snapshot",
    damage: (home) => Deno.mkdirSync(join(home, "snapshots/lost/fs"), { recursive: true }),
    found: ["snapshot-layer-unknown snapshots/lost"],
    left: ["snapshot-layer-unknown snapshots/lost"],
  },
  {
    name: "row removed",
    damage: (home) => sql(home, "DELETE FROM snapshots WHERE name = 'work'"),
    found: ["snapshot-layer-unknown snapshots/<work>"],
    left: ["snapshot-layer-unknown snapshots/<work>"],
  },
  {
    name: "database of an older time",
    damage: (home) =>
      ["work", "app"].forEach((name) => sql(home, `DELETE FROM snapshots WHERE name = '${name}'`)),
    found: ["snapshot-layer-unknown snapshots/<app>", "snapshot-layer-unknown snapshots/<work>"],
    left: ["snapshot-layer-unknown snapshots/<app>", "snapshot-layer-unknown snapshots/<work>"],
  },
  {
    name: "row of a layer that is no id",
    damage: (home) => sql(home, "UPDATE snapshots SET layer = '../../etc' WHERE name = 'work'"),
    found: ["snapshot-layer-invalid metadata.db", "snapshot-layer-unknown snapshots/<work>"],
  },
  {
    name: "rows in a circle",
    damage: (home) =>
      sql(
        home,
        "UPDATE snapshots SET parent = (SELECT id FROM snapshots WHERE name = 'app') WHERE name = 'base'",
      ),
    found: ["database-cycle metadata.db"],
  },
  {
    name: "parent's row gone",
    damage: (home) =>
      sql(home, "PRAGMA foreign_keys = OFF", "DELETE FROM snapshots WHERE name = 'base'"),
    found: ["database-dangling metadata.db", "snapshot-layer-unknown snapshots/<base>"],
  },
  {
    name: "database removed",
    damage: (home) => Deno.removeSync(alone(home)),
    found: ["database-missing metadata.db"],
  },
  {
    name: "database emptied",
    damage: (home) => Deno.writeFileSync(alone(home), new Uint8Array()),
    found: ["database-empty metadata.db"],
  },
  {
    name: "database garbage",
    damage: (home) => Deno.writeFileSync(alone(home), new Uint8Array(65536).fill(0x55)),
    found: ["database-invalid metadata.db"],
  },
  {
    name: "database half written",
    damage: (home) => {
      const path = alone(home);
      Deno.truncateSync(path, 3 * 4096);
    },
    found: ["database-invalid metadata.db"],
  },
  {
    name: "database of the future",
    damage: (home) => sql(home, "PRAGMA user_version = 99"),
    found: ["database-future metadata.db"],
    left: ["database-future metadata.db"],
  },
  {
    name: "database of another program",
    damage: (home) => sql(home, "PRAGMA application_id = 4711"),
    found: ["database-foreign metadata.db"],
  },
  {
    name: "database of another owner",
    damage: (home) => Deno.chownSync(database(home), 1000, 1000),
    found: ["database-owner metadata.db"],
  },
  {
    name: "database replaced by a fifo",
    damage: (home) => {
      const path = alone(home);
      Deno.removeSync(path);
      must("mkfifo", path);
    },
    found: ["database-owner metadata.db"],
  },
  {
    name: "database replaced by a link",
    damage: (home) => {
      const path = alone(home);
      Deno.renameSync(path, `${path}.aside`);
      Deno.symlinkSync(`${path}.aside`, path);
    },
    found: ["database-owner metadata.db"],
  },
];

const PARENTS: Readonly<Record<string, string>> = { base: "", app: "base", work: "app" };

/** A snapshot that has its name still has its parent; the layers of others have new names. */
function examineRows(root: string, { lost, renamed, left }: Repaired): void {
  if (left.some(({ kind }) => kind === "database-future")) return;
  using snapshots = openSnapshotter({ root, driver: "overlay2" });
  const rows = new Map([...snapshots.walk()].map(({ name, parent }) => [name, parent]));
  const gone = [...lost.map(({ name }) => name), ...Object.keys(renamed)];
  for (const [name, parent] of rows) {
    const isNew = name.startsWith("recovered/");
    assert(isNew ? Object.values(renamed).includes(name) : PARENTS[name] !== undefined, name);
    if (!isNew) {
      assertEquals(parent.startsWith("recovered/") || parent === PARENTS[name], true, name);
    }
  }
  const unknown = left.filter(({ kind }) => kind === "snapshot-layer-unknown").length;
  const expected = Object.keys(PARENTS).length - lost.length - unknown;
  assert(rows.size >= expected, `${[...rows.keys()]} of ${gone}`);
}

needs(lacking, "check: snapshots: each damage is found, and named right", async (t) => {
  using dir = tempDir();
  const root = join(dir.path, "root");
  const layers: Record<string, string> = {};
  {
    using snapshots = openSnapshotter({ root, driver: "overlay2" });
    snapshots.prepare("one", "");
    snapshots.commit("base", "one");
    snapshots.prepare("two", "base");
    snapshots.commit("app", "two");
    snapshots.prepare("work", "app");
    for (const { name, layer } of snapshots.walk()) layers[name] = layer;
  }
  await findEach(t, {
    root,
    scratch: dir.path,
    driver: "overlay2",
    of: "snapshots",
    names: layers as Layers,
    nameOf: (name) => layers[name],
    examine: examineRows,
  }, CASES);
});

needs(lacking, "check: snapshots: what is being made or deleted is no damage", () => {
  using dir = tempDir();
  const root = join(dir.path, "root");
  {
    using snapshots = openSnapshotter({ root, driver: "overlay2" });
    snapshots.prepare("one", "");
  }
  const home = join(root, "snapshots/overlay2");
  sql(home, "INSERT INTO intents VALUES ('doomed', NULL, NULL), ('made', 'soon', NULL)");
  Deno.mkdirSync(join(home, "snapshots/doomed/fs"), { recursive: true });
  Deno.mkdirSync(join(home, ".veneer/staging/half/fs"), { recursive: true });
  // A failed apply was killed while it emptied the layer: the next apply makes that again.
  const [layer] = Array.from(Deno.readDirSync(join(home, "snapshots")), ({ name }) => name)
    .filter((name) => name !== "doomed");
  Deno.writeTextFileSync(join(home, ".veneer/incomplete", layer), "");
  Deno.removeSync(join(home, "snapshots", layer), { recursive: true });
  const checked = check(root, "overlay2", "snapshots");
  assertFound(checked, []);
  assertEquals(checked.count, 1);
});
