/** The database of snapshots: the files that it makes. */
import { assertEquals } from "@std/assert";
import { Database } from "../../lib/snapshots/database.ts";
import { confinedAt } from "../support/confined_at.ts";
import { tempDir } from "../support/cases.ts";
import { openFilesBelow } from "../support/files.ts";

Deno.test("snapshot database: what is sorted is kept in memory, not in /var/tmp", () => {
  using dir = tempDir();
  using database = new Database(confinedAt(dir.path, "metadata.db"));
  database.prepare("CREATE TABLE texts (text TEXT)").run();
  // More than SQLite's cache of pages takes, so that it would sort in files.
  const insert = database.prepare("INSERT INTO texts VALUES (?)");
  database.transaction("in order", () => {
    for (let i = 0; i < 20_000; i++) insert.run(`${(i * 7919) % 20_011}`.padEnd(1000, "x"));
  });
  const sorted = database.prepare("SELECT text FROM texts ORDER BY text || 'y'");
  const rows = sorted.statement.iterate();
  rows.next();
  assertEquals(openFilesBelow("/").filter((path) => path.includes("etilqs")), []);
  rows.return?.();
});
