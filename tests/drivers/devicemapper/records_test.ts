/** devicemapper's files: Docker's, by their literal bytes; damaged ones; what the kernel says. */
import { confinedAt } from "../../support/confined_at.ts";
import { assertEquals, assertThrows } from "@std/assert";
import { importLegacy, parseLegacy } from "../../../drivers/devicemapper/legacy.ts";
import { ensureImage, loopNumber } from "../../../drivers/devicemapper/loopback.ts";
import { parsePoolStatus, parsePoolTable, target } from "../../../drivers/devicemapper/pool.ts";
import { parseDeviceRecord, Records } from "../../../drivers/devicemapper/records.ts";
import { parseSuperblock, readSuperblock } from "../../../drivers/devicemapper/superblock.ts";
import { VeneerError } from "../../../lib/base/errors.ts";
import { lacksProgram, must, needs, tempDir } from "../../support/cases.ts";
import { names } from "../../support/files.ts";

const RECORD =
  '{"device_id":24,"size":10737418240,"transaction_id":30,"initialized":false,"deleted":false}';

Deno.test("records are Docker's, byte for byte", () => {
  using dir = tempDir();
  const records = new Records(confinedAt(dir.path));
  Deno.writeTextFileSync(`${dir.path}/abc`, RECORD);
  const record = records.read("abc");
  assertEquals(record, {
    deviceId: 24,
    size: 10737418240,
    transactionId: 30,
    initialized: false,
    deleted: false,
  });
  records.write("copy", record!);
  assertEquals(Deno.readTextFileSync(`${dir.path}/copy`), RECORD);
  records.write("", record!);
  assertEquals(Deno.readTextFileSync(`${dir.path}/base`), RECORD);

  records.writeSet({ nextDeviceId: 24, baseUuid: "d1cb", baseFileSystem: "xfs" });
  assertEquals(
    Deno.readTextFileSync(`${dir.path}/deviceset-metadata`),
    '{"next_device_id":24,"BaseDeviceUUID":"d1cb","BaseDeviceFilesystem":"xfs"}',
  );
  records.writeTransaction({ openTransactionId: 31, hash: "abc", deviceId: 25 });
  assertEquals(
    Deno.readTextFileSync(`${dir.path}/transaction-metadata`),
    '{"open_transaction_id":31,"device_hash":"abc","device_id":25}',
  );
  assertEquals(records.readTransaction(), { openTransactionId: 31, hash: "abc", deviceId: 25 });
  assertEquals(records.ids(), ["abc", "copy"]);
  assertEquals(records.deviceIds(), new Set([24]));
  records.remove("copy");
  records.removeTransaction();
  assertEquals([...Deno.readDirSync(dir.path)].length, 3);
});

Deno.test("fields that old Dockers did not write have their defaults", () => {
  const old = parseDeviceRecord('{"device_id":1,"size":1024,"transaction_id":1}', "file");
  assertEquals([old.initialized, old.deleted], [false, false]);
  using dir = tempDir();
  Deno.writeTextFileSync(`${dir.path}/deviceset-metadata`, '{"next_device_id":7}');
  const set = new Records(confinedAt(dir.path)).readSet();
  assertEquals(set, { nextDeviceId: 7, baseUuid: "", baseFileSystem: "" });
});

Deno.test("a damaged record names its file", () => {
  for (
    const text of [
      "",
      RECORD.slice(0, 40),
      "[]",
      "null",
      '{"device_id":"1","size":512,"transaction_id":1}',
      '{"device_id":16777216,"size":512,"transaction_id":1}',
      '{"device_id":1,"size":0,"transaction_id":1}',
      '{"device_id":1,"size":100,"transaction_id":1}',
      '{"device_id":1,"size":512,"transaction_id":-1}',
      '{"device_id":1,"size":512,"transaction_id":1,"deleted":"no"}',
      '{"size":512,"transaction_id":1}',
    ]
  ) {
    const error = assertThrows(() => parseDeviceRecord(text, "/metadata/abc"), VeneerError);
    assertEquals(error.code, "corrupt store");
    assertEquals(error.message.startsWith("/metadata/abc "), true, error.message);
    assertEquals(error.message.includes("\n"), false);
  }
});

Deno.test("a truncated record keeps its number taken, and others readable", () => {
  using dir = tempDir();
  const records = new Records(confinedAt(dir.path));
  Deno.writeTextFileSync(`${dir.path}/cut`, RECORD.slice(0, 30));
  Deno.writeTextFileSync(`${dir.path}/whole`, RECORD.replace("24", "25"));
  assertEquals(records.deviceIds(), new Set([24, 25]));
  assertEquals(records.tryRead("cut"), undefined);
  assertEquals(records.has("cut"), true);
  assertEquals(records.read("whole")?.deviceId, 25);
});

Deno.test("what a killed writer left is swept", () => {
  using dir = tempDir();
  const records = new Records(confinedAt(dir.path));
  Deno.writeTextFileSync(`${dir.path}/abc.veneer-new`, "{");
  Deno.writeTextFileSync(`${dir.path}/abc`, RECORD);
  assertEquals(records.ids(), ["abc"]);
  records.sweep();
  assertEquals(names(dir.path), ["abc"]);
});

const LEGACY =
  '{"Devices":{"":{"device_id":0,"size":10737418240,"transaction_id":1,"initialized":true},' +
  '"abc":{"device_id":1,"size":10737418240,"transaction_id":2,"initialized":false},' +
  '"lost":{"device_id":2,"size":10737418240,"transaction_id":3,"initialized":false}}}';

Deno.test("an old store's one file is converted once, but for what the pool has lost", () => {
  using dir = tempDir();
  Deno.mkdirSync(`${dir.path}/metadata`);
  Deno.writeTextFileSync(`${dir.path}/json`, LEGACY);
  const records = new Records(confinedAt(dir.path, "metadata"));
  assertEquals(importLegacy(confinedAt(dir.path), records, 2), true);
  assertEquals(records.ids(), ["abc"]);
  assertEquals(
    Deno.readTextFileSync(`${dir.path}/metadata/base`),
    '{"device_id":0,"size":10737418240,"transaction_id":1,"initialized":true,"deleted":false}',
  );
  assertEquals(Deno.readTextFileSync(`${dir.path}/json.migrated`), LEGACY);
  assertEquals(importLegacy(confinedAt(dir.path), records, 2), false);
});

Deno.test("an old file that is none is named", () => {
  const wrong = ["", "{", "{}", '{"Devices":[]}', '{"Devices":{"../x":{}}}', '{"Devices":{"a":1}}'];
  for (const text of [...wrong, '{"Devices":{"pool/":{}}}', '{"Devices":{"base":{}}}']) {
    const error = assertThrows(() => parseLegacy(text, "/d/json"), VeneerError);
    assertEquals([error.code, error.message.startsWith("/d/json ")], ["corrupt store", true]);
  }
});

Deno.test("a pool's status and table are read as the kernel writes them", () => {
  // Kernel, Documentation/admin-guide/device-mapper/thin-provisioning.rst.
  assertEquals(
    parsePoolStatus("3 431/2048 462/16384 - rw discard_passdown queue_if_no_space - 1024 "),
    {
      transactionId: 3,
      usedMetadata: 431,
      totalMetadata: 2048,
      usedData: 462,
      totalData: 16384,
      mode: "rw",
      needsCheck: false,
    },
  );
  const full = parsePoolStatus(
    "9 2/2048 16384/16384 - out_of_data_space no_discard_passdown error_if_no_space - 1024",
  );
  assertEquals(full?.mode, "out_of_data_space");
  const readOnly = parsePoolStatus(
    "9 2048/2048 1/2 12 ro discard_passdown queue_if_no_space needs_check 1024",
  );
  assertEquals([readOnly?.mode, readOnly?.needsCheck], ["ro", true]);
  for (const text of ["Fail", "Error", "", "x"]) assertEquals(parsePoolStatus(text), undefined);

  const made = target(2 ** 30, {
    metadata: "/dev/loop0",
    data: "/dev/loop1",
    blockSize: 128,
    whenFull: "queue",
  });
  assertEquals(made, {
    start: 0,
    length: 2097152,
    type: "thin-pool",
    parameters: "/dev/loop0 /dev/loop1 128 32768 1 skip_block_zeroing",
  });
  const table = { ...made, parameters: "7:0 7:1 128 32768 2 skip_block_zeroing error_if_no_space" };
  assertEquals(parsePoolTable(table), {
    metadata: "7:0",
    data: "7:1",
    blockSize: 128,
    whenFull: "error",
  });
  assertEquals(parsePoolTable({ ...made, type: "linear" }), undefined);
});

Deno.test("loop devices are told from others", () => {
  assertEquals(loopNumber(0x0700n), 0);
  assertEquals(loopNumber(0x0703n), 3);
  assertEquals(loopNumber(0x10072cn), 300);
  assertEquals(loopNumber(0x0801n), undefined);
});

Deno.test("images grow and never shrink", () => {
  using dir = tempDir();
  const image = confinedAt(dir.path, "data");
  const warnings: string[] = [];
  const size = () => Deno.statSync(image.text).size;
  ensureImage(image, 2 ** 20, (message) => warnings.push(message));
  assertEquals(size(), 2 ** 20);
  ensureImage(image, 2 ** 21, (message) => warnings.push(message));
  assertEquals([size(), warnings.length], [2 ** 21, 0]);
  ensureImage(image, 2 ** 20, (message) => warnings.push(message));
  assertEquals([size(), warnings.length], [2 ** 21, 1]);
  assertEquals(Deno.statSync(image.text).blocks, 0);
});

const UUID = "0b1ef4b5-5b7f-4a4a-8a7e-3f3f2a5f7c11";

needs(lacksProgram("mkfs.ext4"), "ext4's superblock is read", () => {
  using dir = tempDir();
  const image = `${dir.path}/image`;
  Deno.writeFileSync(image, new Uint8Array(0));
  Deno.truncateSync(image, 64 << 20);
  assertEquals(readSuperblock(image), undefined);
  must("mkfs.ext4", "-q", "-F", "-b", "4096", "-U", UUID, image);
  assertEquals(readSuperblock(image), {
    type: "ext4",
    uuid: UUID,
    blockSize: 4096,
    size: 64 << 20,
  });
});

needs(lacksProgram("mkfs.xfs"), "xfs's superblock is read", () => {
  using dir = tempDir();
  const image = `${dir.path}/image`;
  Deno.writeFileSync(image, new Uint8Array(0));
  Deno.truncateSync(image, 320 << 20);
  must("mkfs.xfs", "-q", "-m", `uuid=${UUID}`, image);
  assertEquals(readSuperblock(image), {
    type: "xfs",
    uuid: UUID,
    blockSize: 4096,
    size: 320 << 20,
  });
});

Deno.test("a device too small to hold a file system has none", () => {
  assertEquals(parseSuperblock(new Uint8Array(512)), undefined);
});
