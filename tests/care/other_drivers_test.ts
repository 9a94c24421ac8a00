/** `check` on homes of aufs and devicemapper, written file by file as Docker has them. */
import { assertEquals } from "@std/assert";
import { join } from "@std/path";
import { must, tempDir } from "../support/cases.ts";
import {
  check,
  type Damage,
  DIRECTORY_DAMAGES,
  findEach,
  poolMetadata,
  RECORD_DAMAGES,
  RECORD_FAULTS,
} from "./support.ts";

const set = (path: string, content: string | Uint8Array) =>
  typeof content === "string"
    ? Deno.writeTextFileSync(path, content)
    : Deno.writeFileSync(path, content);
const remove = (path: string) => Deno.removeSync(path, { recursive: true });

/** Registers the cases of one driver. */
function cases(driver: string, make: (home: string) => void, list: readonly Damage[]): void {
  Deno.test(`check: ${driver}: each damage is found, and named right`, async (t) => {
    using dir = tempDir();
    const root = join(dir.path, "root"), home = join(root, driver);
    Deno.mkdirSync(home, { recursive: true });
    make(home);
    await findEach(t, { root, scratch: dir.path, driver, names: undefined }, list);
  });
}

cases("aufs", (home) => {
  for (const [id, chain] of Object.entries({ base: "", app: "base\n", top: "app\nbase\n" })) {
    for (const tree of ["diff", "mnt"]) must("mkdir", "-p", join(home, tree, id));
    must("mkdir", "-p", join(home, "layers"));
    set(join(home, "layers", id), chain);
  }
  // A removal that was interrupted.
  Deno.mkdirSync(join(home, "diff/old-removing"));
}, [
  ...Object.entries(RECORD_DAMAGES).map(([name, damage]): Damage => ({
    name: `record ${name}`,
    damage: (home) => damage(join(home, "layers/app")),
    // An emptied one looks like a base layer's, but for what its child says.
    found: [`record-${RECORD_FAULTS[name]} layers/app`],
    breaks: ["app", "top"],
  })),
  ...["diff", "mnt"].flatMap((tree) =>
    Object.entries(DIRECTORY_DAMAGES).map(([name, damage]): Damage => ({
      name: `${tree} ${name}`,
      damage: (home) => damage(join(home, tree, "app")),
      found: [`${tree}-${name === "removed" ? "missing" : "not-a-directory"} ${tree}/app`],
      breaks: ["app", "top"],
      lost: tree === "diff" ? ["app", "top"] : [],
    }))
  ),
  {
    name: "record of itself",
    damage: (home) => set(join(home, "layers/base"), "base\n"),
    found: ["record-cycle layers/base", "record-wrong layers/app"],
  },
  {
    name: "records in a circle",
    damage: (home) => set(join(home, "layers/base"), "top\napp\nbase\n"),
    found: ["record-cycle layers/base", "record-wrong layers/app"],
  },
  {
    name: "record with a layer twice",
    damage: (home) => set(join(home, "layers/top"), "app\napp\nbase\n"),
    found: ["record-duplicate layers/top"],
    breaks: ["top"],
  },
  {
    name: "record of a missing layer",
    damage: (home) => set(join(home, "layers/top"), "gone\nbase\n"),
    found: ["record-dangling layers/top"],
    breaks: ["top"],
    lost: ["top"],
  },
  {
    name: "record that leads out of the store",
    damage: (home) => set(join(home, "layers/top"), "../../etc\n"),
    found: ["record-invalid layers/top"],
    breaks: ["top"],
    lost: ["top"],
  },
  {
    name: "record without its end",
    damage: (home) => set(join(home, "layers/top"), "app\n"),
    found: ["record-wrong layers/top"],
    breaks: ["top"],
  },
]);

/** A device's record. */
const device = (number: number, deleted = false) =>
  JSON.stringify({
    device_id: number,
    size: 10737418240,
    transaction_id: number,
    initialized: false,
    deleted,
  });

/** The note of a transaction. */
const note = (transactionId: number, hash: string, deviceId: number) =>
  JSON.stringify({ open_transaction_id: transactionId, device_hash: hash, device_id: deviceId });

const setPool = (home: string, ...pool: Parameters<typeof poolMetadata>) =>
  set(join(home, "devicemapper/metadata"), poolMetadata(...pool));

cases("devicemapper", (home) => {
  for (const name of ["metadata", "devicemapper", "mnt", ".veneer/parents"]) {
    must("mkdir", "-p", join(home, name));
  }
  set(join(home, "metadata/base"), device(1));
  set(join(home, "metadata/app"), device(2));
  set(join(home, "metadata/top"), device(3));
  set(join(home, "metadata/gone"), device(3, true));
  set(join(home, "metadata/deviceset-metadata"), '{"next_device_id":4}');
  set(join(home, "metadata/transaction-metadata"), '{"open_transaction_id":3}');
  set(join(home, "devicemapper/data"), "data");
  set(join(home, "devicemapper/metadata"), poolMetadata(3, [[1, 0], [2, 1], [3, 2]]));
  set(join(home, ".veneer/parents/app"), "");
  set(join(home, ".veneer/parents/top"), "app");
}, [
  ...Object.entries(RECORD_DAMAGES).filter(([name]) => name !== "removed").map((
    [name, damage],
  ): Damage => ({
    name: `record ${name}`,
    damage: (home) => damage(join(home, "metadata/app")),
    found: [`device-${RECORD_FAULTS[name]} metadata/app`],
    // Only one device in the pool has no record: it is of this layer.
    breaks: ["app", "top"],
  })),
  {
    name: "record cut short",
    damage: (home) => set(join(home, "metadata/app"), device(2).slice(0, 30)),
    found: ["device-invalid metadata/app"],
    breaks: ["app", "top"],
  },
  {
    name: "two records emptied",
    damage: (home) => {
      for (const id of ["app", "base"]) set(join(home, "metadata", id), "");
    },
    found: [
      "base-device-empty metadata/base",
      "device-empty metadata/app",
      "device-without-record devicemapper/metadata",
      "device-without-record devicemapper/metadata",
    ],
    // Each device could be of either, and nothing tells its size.
    lost: ["app", "top"],
    left: [
      "base-device-empty metadata/base",
      "device-without-record devicemapper/metadata",
      "device-without-record devicemapper/metadata",
    ],
  },
  {
    name: "record cut short behind its size",
    damage: (home) => set(join(home, "metadata/app"), device(2).slice(0, 60)),
    found: ["device-invalid metadata/app"],
  },
  {
    name: "record of a device number that cannot be",
    damage: (home) => set(join(home, "metadata/app"), device(1 << 25)),
    found: ["device-invalid metadata/app"],
  },
  {
    name: "device without a record",
    damage: (home) => setPool(home, 9, [[1, 0], [2, 1], [3, 2], [7, 8], [9, 8]]),
    found: [
      "device-without-record devicemapper/metadata",
      "device-without-record devicemapper/metadata",
    ],
    breaks: [],
  },
  {
    name: "record without a device",
    damage: (home) => setPool(home, 3, [[1, 0], [3, 2]]),
    found: ["device-not-in-pool metadata/app"],
    breaks: ["app", "top"],
    lost: ["app", "top"],
  },
  {
    name: "pool of an older time",
    damage: (home) => setPool(home, 2, [[1, 0], [2, 1]]),
    found: ["device-not-in-pool metadata/top"],
    breaks: ["top"],
    lost: ["top"],
  },
  {
    name: "pool that did not count its last device",
    damage: (home) => setPool(home, 2, [[1, 0], [2, 1], [3, 2]]),
    found: ["device-ahead metadata/top"],
    breaks: ["top"],
  },
  {
    name: "record of a later transaction than the pool's",
    damage: (home) =>
      set(join(home, "metadata/top"), device(3).replace('id":3,"ini', 'id":8,"ini')),
    found: ["device-ahead metadata/top"],
    lost: ["top"],
  },
  {
    name: "unfinished creation",
    damage: (home) => {
      setPool(home, 3, [[1, 0], [2, 1], [3, 2], [4, 3]]);
      set(join(home, "metadata/new"), device(4));
      set(join(home, "metadata/transaction-metadata"), note(4, "new", 4));
    },
    found: [],
  },
  {
    name: "note of a transaction that the pool is far from",
    damage: (home) => set(join(home, "metadata/transaction-metadata"), note(9, "app", 2)),
    found: ["transaction-metadata-ahead metadata/transaction-metadata"],
  },
  {
    name: "note that would delete another layer's device",
    damage: (home) => set(join(home, "metadata/transaction-metadata"), note(4, "new", 2)),
    found: ["transaction-metadata-wrong metadata/transaction-metadata"],
  },
  {
    name: "metadata image with a damaged tree",
    damage: (home) => {
      const bytes = poolMetadata(3, [[1, 0], [2, 1], [3, 2]]);
      set(join(home, "devicemapper/metadata"), bytes.fill(0xff, 4096, 8192));
    },
    found: ["metadata-image-damaged devicemapper/metadata"],
    left: ["metadata-image-damaged devicemapper/metadata"],
  },
  {
    name: "metadata image with a tree in a circle",
    damage: (home) => {
      const bytes = poolMetadata(3, [[1, 0]]), view = new DataView(bytes.buffer);
      view.setUint32(4096 + 4, 1, true); // INTERNAL_NODE
      view.setUint32(4096 + 24, 8, true);
      view.setBigUint64(4096 + 32 + 800, 1n, true);
      set(join(home, "devicemapper/metadata"), bytes);
    },
    found: ["metadata-image-damaged devicemapper/metadata"],
    left: ["metadata-image-damaged devicemapper/metadata"],
  },
  {
    name: "two records of one device",
    damage: (home) => set(join(home, "metadata/top"), device(2)),
    found: ["device-duplicate metadata/top"],
    breaks: ["top"],
    lost: ["top"],
  },
  {
    name: "record of a parent removed",
    damage: (home) => remove(join(home, "metadata/app")),
    found: ["device-missing metadata/app"],
    breaks: ["app", "top"],
  },
  {
    name: "record of a parent and its device removed",
    damage: (home) => {
      remove(join(home, "metadata/app"));
      setPool(home, 3, [[1, 0], [3, 2]]);
    },
    found: ["parent-dangling .veneer/parents/top"],
    breaks: ["top"],
  },
  {
    name: "base device's record removed",
    damage: (home) => remove(join(home, "metadata/base")),
    found: ["base-device-missing metadata/base"],
    left: ["base-device-missing metadata/base"],
  },
  {
    name: "base device's record emptied",
    damage: (home) => set(join(home, "metadata/base"), ""),
    found: ["base-device-empty metadata/base"],
    left: ["base-device-empty metadata/base"],
  },
  ...["deviceset-metadata", "transaction-metadata"].map((name): Damage => ({
    name: `${name} garbage`,
    damage: (home) => set(join(home, "metadata", name), '{"next'),
    found: [`${name}-invalid metadata/${name}`],
  })),
  {
    name: "data image removed",
    damage: (home) => remove(join(home, "devicemapper/data")),
    found: ["data-image-missing devicemapper/data"],
    left: ["data-image-missing devicemapper/data"],
  },
  {
    name: "data image emptied",
    damage: (home) => set(join(home, "devicemapper/data"), ""),
    found: ["data-image-empty devicemapper/data"],
    left: ["data-image-empty devicemapper/data"],
  },
  {
    name: "metadata image zeroed",
    damage: (home) => set(join(home, "devicemapper/metadata"), new Uint8Array(4096)),
    found: ["metadata-image-zeroed devicemapper/metadata"],
    left: ["metadata-image-zeroed devicemapper/metadata"],
  },
  {
    name: "metadata image garbage",
    damage: (home) => set(join(home, "devicemapper/metadata"), new Uint8Array(4096).fill(7)),
    found: ["metadata-image-invalid devicemapper/metadata"],
    left: ["metadata-image-invalid devicemapper/metadata"],
  },
  {
    name: "metadata image replaced by a directory",
    damage: (home) => {
      remove(join(home, "devicemapper/metadata"));
      Deno.mkdirSync(join(home, "devicemapper/metadata"));
    },
    found: ["metadata-image-not-a-file devicemapper/metadata"],
    left: ["metadata-image-not-a-file devicemapper/metadata"],
  },
  ...Object.entries(RECORD_DAMAGES)
    .filter(([name]) => name !== "removed" && name !== "emptied")
    .map(([name, damage]): Damage => ({
      name: `record of the parent ${name}`,
      damage: (home) => damage(join(home, ".veneer/parents/top")),
      found: [`parent-${RECORD_FAULTS[name]} .veneer/parents/top`],
      breaks: ["top"],
    })),
  {
    name: "parents in a circle",
    damage: (home) => set(join(home, ".veneer/parents/app"), "top"),
    found: ["parent-cycle .veneer/parents/app", "parent-cycle .veneer/parents/top"],
    breaks: ["app", "top"],
  },
]);

Deno.test("check: a home of no layers is no damage", () => {
  using dir = tempDir();
  for (const driver of ["overlay2", "aufs", "devicemapper", "btrfs"]) {
    must("mkdir", "-p", join(dir.path, driver, "l"));
    assertEquals((check(dir.path, driver)).findings, []);
  }
});
