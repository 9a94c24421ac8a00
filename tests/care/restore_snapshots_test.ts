/** `repair --from` of committed snapshots. */
// @runs on ext4, btrfs
// @runs long on xfs
import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { VeneerError } from "../../lib/base/errors.ts";
import { recordContents } from "../../lib/care/content_recording.ts";
import { checkStore } from "../../lib/care/check.ts";
import { lacksFileSystem, must, needs, TEST_FS } from "../support/cases.ts";
import { openSnapshotter } from "../support/drivers.ts";
import { image, OCI_LAYER, oneImage, writeFiles } from "../images/builder.ts";
import { storeDir } from "../support/store_dir.ts";
import { refusal, TestStore } from "../support/commands.ts";
import { lacksKilling } from "../drivers/kill/graph.ts";
import { killBeforeEveryCall } from "../drivers/kill/killing.ts";
import { repair } from "./support.ts";
import {
  APP,
  fill,
  inFiles,
  linesOf,
  makeTars,
  type Place,
  restore,
  restoreEach,
  storeOf,
} from "./restore_subjects.ts";

const driver = TEST_FS === "btrfs" ? "btrfs" : "overlay2";
const lacking = driver === "btrfs" ? undefined : lacksFileSystem("overlay");

/** Records the contents of the snapshots, as `check --deep --record` does. */
function record(place: Place): void {
  const store = storeOf(place);
  const failed = (error: VeneerError) => {
    throw error;
  };
  recordContents(store, checkStore(store, 0)!, () => true, failed);
}

needs(lacking, "repair --from restores each damage of a committed snapshot", async (t) => {
  using dir = storeDir();
  const place: Place = { root: join(dir.path, "root"), driver, of: "snapshots" };
  const tars = makeTars(dir.path);
  fill(place, tars);
  await restoreEach(t, place, tars.app);
});

needs(lacking, "repair --from moves what a snapshot's record does not have aside", () => {
  using dir = storeDir();
  const place: Place = { root: join(dir.path, "root"), driver, of: "snapshots" };
  const tars = makeTars(dir.path);
  fill(place, tars);
  record(place);
  const right = linesOf(place, APP);
  inFiles(place, APP, (own) => {
    must("mkdir", "-p", join(own, "etc/added/deep"));
    Deno.writeTextFileSync(join(own, "etc/added/deep/file"), "added");
  });
  const { restored, quarantine } = restore(place, tars.app);
  assertEquals(restored, [{ path: "/etc/added", fault: "added" }]);
  assertEquals(linesOf(place, APP), right);
  assertMatch(must("find", quarantine!, "-path", "*/etc/added/deep/file"), /file\n$/);
  const other = assertThrows(() => restore(place, tars.base), VeneerError);
  assertMatch(other.message, /the source is not what layer .* was made from/);
});

needs(lacking, "repair --from brings back a snapshot that lost its directory", () => {
  using dir = storeDir();
  const place: Place = { root: join(dir.path, "root"), driver, of: "snapshots" };
  const tars = makeTars(dir.path);
  fill(place, tars);
  const right = linesOf(place, APP), above = linesOf(place, "top");
  inFiles(place, APP, (own) => {
    if (driver === "btrfs") must("btrfs", "subvolume", "delete", own);
    else Deno.removeSync(join(own, ".."), { recursive: true });
  });
  assertEquals(checkStore(storeOf(place), 0)!.findings.length, 1);
  assertEquals(restore(place, tars.app).restored, [{ path: "/", fault: "missing" }]);
  assertEquals(linesOf(place, APP), right);
  assertEquals(linesOf(place, "top"), above);
  assertEquals(checkStore(storeOf(place), 0)!.findings, []);
});

needs(
  driver === "btrfs" ? undefined : "a snapshot's directory can be written to there",
  "repair: a committed subvolume that is writable is found and sealed",
  () => {
    using dir = storeDir();
    const place: Place = { root: join(dir.path, "root"), driver, of: "snapshots" };
    fill(place, makeTars(dir.path));
    let own = "";
    inFiles(place, APP, (path) => own = path);
    must("btrfs", "property", "set", "-ts", own, "ro", "false");
    const kinds = () => checkStore(storeOf(place), 0)!.findings.map(({ kind }) => kind);
    assertEquals(kinds(), ["snapshot-layer-writable"]);
    assertEquals(repair(place.root, driver, "snapshots").mended.length, 1);
    assertEquals(kinds(), []);
    assertEquals(must("btrfs", "property", "get", "-ts", own, "ro"), "ro=true\n");
  },
);

needs(lacking, "repair --from refuses a snapshot that is in use", () => {
  using dir = storeDir();
  const place: Place = { root: join(dir.path, "root"), driver, of: "snapshots" };
  const tars = makeTars(dir.path);
  fill(place, tars);
  {
    using snapshots = openSnapshotter(place);
    snapshots.mount("top");
  }
  try {
    // A subvolume has its parent's files, so a mount of a child shows nothing of it.
    if (driver === "btrfs") assertEquals(restore(place, tars.app).restored, []);
    else assertThrows(() => restore(place, tars.app), VeneerError, "is mounted at");
  } finally {
    using snapshots = openSnapshotter(place);
    snapshots.unmount("top");
    snapshots.cleanup();
  }
});

needs(
  lacking ?? lacksKilling,
  "repair --from of a snapshot: killed before every system call, the next one ends it",
  () =>
    killBeforeEveryCall({
      name: "repair --from of a snapshot",
      script: "../../care/restore_snapshot_child.ts",
      arguments: ({ path }) => [join(path, "root"), driver, join(path, "app.tar")],
      prepare: ({ path }) => {
        const place: Place = { root: join(path, "root"), driver, of: "snapshots" };
        fill(place, makeTars(path));
        record(place);
        inFiles(place, APP, (own) => {
          Deno.writeTextFileSync(join(own, "etc/app"), "");
          Deno.removeSync(join(own, "lib/deep"), { recursive: true });
          must("mkdir", "-p", join(own, "added/deep"));
          Deno.writeTextFileSync(join(own, "added/deep/kept"), "kept");
        });
      },
      verify: ({ path }) => {
        const place: Place = { root: join(path, "root"), driver, of: "snapshots" };
        // A killed one may have left a subvolume writable.
        repair(place.root, driver, "snapshots");
        restore(place, join(path, "app.tar"));
        assertEquals(restore(place, join(path, "app.tar")).restored, []);
        assertEquals(checkStore({ ...storeOf(place), deep: true }, 0)!.findings, []);
        using snapshots = openSnapshotter(place);
        assertEquals(snapshots.active(), ["top"], "no scratch stays");
        // Whenever it was killed, what was replaced is kept.
        const quarantine = join(place.root, "snapshots", driver, ".veneer/quarantine");
        const kept = must("find", quarantine, "-name", "kept", "-size", "4c");
        assertMatch(kept, /\/added\/deep\/kept\n/);
      },
    }),
);

class DriverStore extends TestStore {
  override readonly options = ["--root", this.root, "--driver", driver];
}

needs(lacking, "cli: repair --from takes the name of a snapshot, and an image", () => {
  using store = new DriverStore();
  const place: Place = { root: store.root, driver, of: "snapshots" };
  const tars = makeTars(store.path("."));
  fill(place, tars);
  const built = image([tars.base, tars.app].map((path) => {
    const plain = Deno.readFileSync(path);
    return { plain, file: plain, mediaType: OCI_LAYER };
  }));
  const layout = writeFiles(store.path("layout"), oneImage(built));
  const right = linesOf(place, APP);
  for (const from of [tars.app, layout]) {
    inFiles(place, APP, (own) => Deno.writeTextFileSync(join(own, "etc/app"), ""));
    const { id, restored, left } = store.json<Record<string, unknown>>(
      "repair",
      APP,
      "--from",
      from,
    );
    assertEquals([id, restored, left], [APP, [{ path: "/etc/app", fault: "damaged" }], []]);
    assertEquals(linesOf(place, APP), right);
  }
  assertMatch(
    refusal("failed precondition", store.run("repair", "top", "--from", tars.app)),
    /not committed/,
  );
  refusal("not found", store.run("repair", "other", "--from", tars.app));
  // A committed subvolume can only be deleted as one.
  for (const name of ["top", APP, "below"]) store.must("snapshot", "rm", name);
});
