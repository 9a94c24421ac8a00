/**
 * The devicemapper driver inside one process against `dmsetup` doing the same steps on the same pool: to create
 * a snapshot and count the transaction, to delete it and count, to activate, mount, unmount and deactivate.
 *
 * Where the machine's kernel has no device-mapper it starts itself again under user-mode Linux, so the
 * ratios of one run are all of one kernel.
 *
 * @module
 */
import { checkSupport } from "../drivers/devicemapper/support.ts";
import { openDriver } from "../tests/support/drivers.ts";
import type { GraphDriver } from "../lib/graph/driver.ts";
import { IDENTITY } from "../lib/base/id_maps.ts";
import { compare, report, run } from "./measure.ts";

const GUEST = "VENEER_BENCH_GUEST";
/** Of each kind in a turn. */
const COUNT = 10;
const TURNS = Deno.env.has("VENEER_BENCH_QUICK") ? 5 : 15;

if (checkSupport() !== undefined && !Deno.env.has(GUEST)) {
  const top = new URL("..", import.meta.url).pathname;
  const self = new URL(import.meta.url).pathname;
  const { code } = new Deno.Command(`${top}tools/uml`, {
    args: ["-C", top, "-m", "2G", Deno.execPath(), "run", "--allow-all", "--quiet", self],
    env: { [GUEST]: "1" },
    stdout: "inherit",
    stderr: "inherit",
  }).outputSync();
  Deno.exit(code);
}

const root = Deno.makeTempDirSync({ dir: "/tmp", prefix: "veneer-bench." });
const warn = (message: string) => console.error(message);
const open = (discard: boolean): GraphDriver =>
  openDriver({
    root,
    driver: "devicemapper",
    options: [
      "dm.basesize=128M",
      "dm.loopdatasize=2G",
      "dm.loopmetadatasize=16M",
      `dm.blkdiscard=${discard}`,
    ],
    idMaps: IDENTITY,
    warn,
  });

console.log(`== devicemapper on kernel ${Deno.osRelease()}, as ratios of medians (least to most)`);
const driver = open(false), discarding = open(true);
driver.create("parent");
Deno.writeFileSync(`${driver.get("parent")}/file`, new Uint8Array(4 << 20));
driver.put("parent");

const pool = new Map(driver.status()).get("Pool Name")!;
const origin = driver.getMetadata("parent").get("DeviceId")!;
const sectors = Number(driver.getMetadata("parent").get("DeviceSize")) / 512;
/** Far from the numbers that the driver takes. */
const FIRST = 1_000_000;

const dmsetup = (...args: string[]) => run("dmsetup", ...args);
const transactionId = () =>
  Number(
    new TextDecoder().decode(
      new Deno.Command("dmsetup", { args: ["status", pool] }).outputSync().stdout,
    ).split(" ")[3],
  );

/** As the driver does: the change, and the transaction id after it. */
function dmsetupChange(message: (i: number) => string): void {
  let id = transactionId();
  for (let i = 0; i < COUNT; i++, id++) {
    dmsetup("message", pool, "0", message(i));
    dmsetup("message", pool, "0", `set_transaction_id ${id} ${id + 1}`);
  }
}
const dmsetupCreate = () => dmsetupChange((i) => `create_snap ${FIRST + i} ${origin}`);
const dmsetupRemove = () => dmsetupChange((i) => `delete ${FIRST + i}`);

const each = (use: (id: string) => void) => {
  for (let i = 0; i < COUNT; i++) use(`layer-${i}`);
};
const create = (id: string) => driver.create(id, { parent: "parent" });
const remove = (id: string) => driver.remove(id);

report(
  `create from a parent, ${COUNT} times`,
  await compare([
    { name: "dmsetup: create_snap, set_transaction_id", run: dmsetupCreate, after: dmsetupRemove },
    { name: "veneer, in one process", run: () => each(create), after: () => each(remove) },
  ], TURNS),
  "dmsetup: create_snap, set_transaction_id",
);

report(
  `remove, ${COUNT} times`,
  await compare([
    { name: "dmsetup: delete, set_transaction_id", before: dmsetupCreate, run: dmsetupRemove },
    { name: "veneer, in one process", before: () => each(create), run: () => each(remove) },
    {
      name: "veneer, with dm.blkdiscard",
      before: () => each(create),
      run: () => each((id) => discarding.remove(id)),
    },
  ], TURNS),
  "dmsetup: delete, set_transaction_id",
);

Deno.mkdirSync(`${root}/mnt`);
report(
  `mount and unmount, ${COUNT} times`,
  await compare([
    {
      name: "dmsetup create, mount, umount, dmsetup remove",
      run: () => {
        for (let i = 0; i < COUNT; i++) {
          dmsetup(
            "create",
            "veneer-bench",
            "--table",
            `0 ${sectors} thin /dev/mapper/${pool} ${origin}`,
          );
          run("mount", "-o", "discard", "/dev/mapper/veneer-bench", `${root}/mnt`);
          run("umount", `${root}/mnt`);
          dmsetup("remove", "veneer-bench");
        }
      },
    },
    {
      name: "veneer, in one process",
      run: () => {
        for (let i = 0; i < COUNT; i++) {
          driver.get("parent");
          driver.put("parent");
        }
      },
    },
  ], TURNS),
  "dmsetup create, mount, umount, dmsetup remove",
);

driver.cleanup();
Deno.removeSync(root, { recursive: true });
