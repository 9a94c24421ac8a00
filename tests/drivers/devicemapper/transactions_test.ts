/** Transactions of devicemapper: what each interruption is brought to, with the pool written down. */
import { confinedAt } from "../../support/confined_at.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { type DeviceRecord, Records } from "../../../drivers/devicemapper/records.ts";
import { DeviceIdTaken, Transactions } from "../../../drivers/devicemapper/transactions.ts";
import { EBUSY, ENODATA } from "../../../ffi/errno.ts";
import { type TempDir, tempDir } from "../../support/cases.ts";

/** What a pool holds; a device in `busy` cannot be deleted. */
class PoolModel {
  readonly devices = new Set<number>();
  readonly busy = new Set<number>();
  transactionId = 5;

  tryDelete(id: number): number {
    if (this.busy.has(id)) return -EBUSY;
    return this.devices.delete(id) ? 0 : -ENODATA;
  }

  setTransactionId(from: number, to: number): void {
    assertEquals(from, this.transactionId);
    this.transactionId = to;
  }

  status() {
    const free = { usedMetadata: 0, totalMetadata: 1, usedData: 0, totalData: 1 };
    return { transactionId: this.transactionId, ...free, mode: "rw" as const, needsCheck: false };
  }
}

const record = (deviceId: number, transactionId: number): DeviceRecord => ({
  deviceId,
  size: 1024,
  transactionId,
  initialized: false,
  deleted: false,
});

/** A store with the device `old`, number 1. */
function setUp(dir: TempDir) {
  const pool = new PoolModel(), records = new Records(confinedAt(dir.path));
  const released: string[] = [], warnings: string[] = [];
  pool.devices.add(1);
  records.write("old", record(1, 4));
  const open = () => {
    const transactions = new Transactions({
      pool,
      records,
      release: (hash) => released.push(hash),
      warn: (message) => warnings.push(message),
    });
    transactions.recover(pool.status());
    return transactions;
  };
  return { pool, records, released, warnings, open };
}

const killed = (): never => {
  throw new Error("killed");
};

Deno.test("a creation is done as a whole", () => {
  using dir = tempDir();
  const { pool, records, open } = setUp(dir);
  open().run("new", 2, (transactionId) => {
    assertEquals(records.readTransaction(), { openTransactionId: 6, hash: "new", deviceId: 2 });
    pool.devices.add(2);
    records.write("new", record(2, transactionId));
  });
  assertEquals([pool.transactionId, records.readTransaction()], [6, undefined]);
  assertEquals(records.read("new"), record(2, 6));
});

Deno.test("a creation cut short is undone: with the device alone, with its record, with neither", () => {
  for (const steps of [0, 1, 2]) {
    using dir = tempDir();
    const { pool, records, released, open } = setUp(dir);
    records.writeTransaction({ openTransactionId: 6, hash: "new", deviceId: 2 });
    if (steps > 0) pool.devices.add(2);
    if (steps > 1) records.write("new", record(2, 6));
    open();
    assertEquals([...pool.devices], [1]);
    assertEquals([records.has("new"), records.has("old")], [false, true]);
    assertEquals([pool.transactionId, records.readTransaction()], [5, undefined]);
    assertEquals(released, ["new"]);
  }
});

Deno.test("a deletion cut short is finished: before and after the pool did it, and the record went", () => {
  for (const steps of [0, 1, 2]) {
    using dir = tempDir();
    const { pool, records, open } = setUp(dir);
    records.writeTransaction({ openTransactionId: 6, hash: "old", deviceId: 1 });
    if (steps > 0) pool.devices.delete(1);
    if (steps > 1) records.remove("old");
    open();
    assertEquals([...pool.devices], []);
    assertEquals([records.has("old"), records.readTransaction()], [false, undefined]);
  }
});

Deno.test("a transaction that the pool knows as done is done, whether its note is there or not", () => {
  using dir = tempDir();
  const { pool, records, open } = setUp(dir);
  records.writeTransaction({ openTransactionId: 5, hash: "old", deviceId: 1 });
  open();
  assertEquals([[...pool.devices], records.has("old")], [[1], true]);
  assertEquals(records.readTransaction(), undefined);
});

Deno.test("an error is rolled back at once, and leaves the pool usable", () => {
  using dir = tempDir();
  const { pool, records, open } = setUp(dir);
  const transactions = open();
  assertThrows(() =>
    transactions.run("new", 2, (transactionId) => {
      pool.devices.add(2);
      records.write("new", record(2, transactionId));
      killed();
    })
  );
  assertEquals([[...pool.devices], records.has("new"), pool.transactionId], [[1], false, 5]);
  transactions.run("new", 2, () => pool.devices.add(2));
  assertEquals([pool.transactionId, transactions.id], [6, 6]);
});

Deno.test("a number that was taken is not deleted", () => {
  using dir = tempDir();
  const { pool, records, open } = setUp(dir);
  pool.devices.add(9);
  assertThrows(() =>
    open().run("new", 9, () => {
      throw new DeviceIdTaken(9);
    }), DeviceIdTaken);
  assertEquals([pool.devices.has(9), records.readTransaction()], [true, undefined]);
});

Deno.test("a record of another number is not the transaction's", () => {
  using dir = tempDir();
  const { pool, records, released, open } = setUp(dir);
  pool.devices.add(2);
  records.writeTransaction({ openTransactionId: 6, hash: "old", deviceId: 2 });
  open();
  assertEquals([[...pool.devices], records.read("old")], [[1], record(1, 4)]);
  assertEquals(released, []);
});

Deno.test("a device that is busy is remembered as one to delete", () => {
  using dir = tempDir();
  const { pool, records, warnings, open } = setUp(dir);
  pool.devices.add(2);
  pool.busy.add(2);
  records.write("new", record(2, 6));
  records.writeTransaction({ openTransactionId: 6, hash: "new", deviceId: 2 });
  open();
  assertEquals(records.read("new"), { ...record(2, 6), deleted: true });
  assert(warnings[0].includes("busy"));
});

Deno.test("a pool that went on without the store is not rolled back", () => {
  using dir = tempDir();
  const { pool, records, warnings, open } = setUp(dir);
  records.writeTransaction({ openTransactionId: 3, hash: "old", deviceId: 1 });
  open();
  assertEquals([[...pool.devices], records.has("old"), warnings.length], [[1], true, 1]);
});
