/** devicemapper's options: every one of Docker's is taken or refused with the reason. */
import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { optionList, splitOptions } from "../../../drivers/devicemapper/mount_options.ts";
import { DeviceNames, isRecordName } from "../../../drivers/devicemapper/names.ts";
import { OPTION_KEYS } from "../../../drivers/devicemapper/option_keys.ts";
import { parseDriverOptions, parseLayerSize } from "../../../drivers/devicemapper/options.ts";
import { MS_NOATIME, MS_NODEV, MS_RDONLY } from "../../../ffi/mount.ts";
import { VeneerError } from "../../../lib/base/errors.ts";
import { Home } from "../../../lib/store/home.ts";
import { IDENTITY } from "../../../lib/base/id_maps.ts";
import { tempDir } from "../../support/cases.ts";

const parse = (options: Record<string, string>) =>
  parseDriverOptions(new Map(Object.entries(options)));

function refused(code: string, options: Record<string, string>): string {
  const error = assertThrows(() => parse(options), VeneerError);
  assertEquals(error.code, code);
  assert(!error.message.includes("\n"));
  return error.message;
}

Deno.test("defaults are Docker's", () => {
  const options = parse({});
  assertEquals(options.baseSize, 10737418240);
  assertEquals(options.blockSize, 65536);
  assertEquals(options.minFreeSpace, 0.1);
  assertEquals(options.fileSystem, "ext4");
  assertEquals([options.dataSize, options.metadataSize], [undefined, undefined]);
  assertEquals([options.deferredRemoval, options.deferredDeletion], [undefined, undefined]);
  assertEquals(options.discard, true);
  assertEquals(options.whenFull, "queue");
});

Deno.test("what is given is read", () => {
  const options = parse({
    "dm.basesize": "20G",
    "dm.fs": "xfs",
    "dm.mkfsarg": "-m crc=1  -n ftype=1",
    "dm.mountopt": "nodev,noatime",
    "dm.loopdatasize": "200G",
    "dm.loopmetadatasize": "4G",
    "dm.blocksize": "512K",
    "dm.use_deferred_removal": "true",
    "dm.use_deferred_deletion": "true",
    "dm.min_free_space": "5%",
    "dm.xfs_nospace_max_retries": "0",
    "dm.libdm_log_level": "7",
    "dm.override_udev_sync_check": "true",
    "dm.when_full": "error",
  });
  assertEquals(options.baseSize, 20 * 2 ** 30);
  assertEquals([options.growBase, options.fileSystem, options.fileSystemGiven], [
    true,
    "xfs",
    true,
  ]);
  assertEquals(options.mkfsArguments, ["-m", "crc=1", "-n", "ftype=1"]);
  assertEquals([options.dataSize, options.metadataSize], [200 * 2 ** 30, 4 * 2 ** 30]);
  assertEquals(options.blockSize, 512 * 1024);
  assertEquals([options.deferredRemoval, options.deferredDeletion], [true, true]);
  assertEquals([options.minFreeSpace, options.xfsNoSpaceRetries, options.logLevel], [0.05, 0, 7]);
  assertEquals([options.overrideUdevSyncCheck, options.whenFull], [true, "error"]);
});

Deno.test("given devices are not discarded unless that is asked for", () => {
  const pool = parse({ "dm.thinpooldev": "/dev/mapper/vg-pool" });
  assertEquals([pool.thinPool, pool.discard], ["vg-pool", false]);
  assertEquals(parse({ "dm.thinpooldev": "vg-pool", "dm.blkdiscard": "true" }).discard, true);
  const devices = parse({ "dm.datadev": "/dev/sdb", "dm.metadatadev": "/dev/sdc" });
  assertEquals([devices.dataDevice, devices.metadataDevice], ["/dev/sdb", "/dev/sdc"]);
  assertEquals(devices.discard, false);
});

Deno.test("what cannot be is refused with its rule", () => {
  const cases: [Record<string, string>, RegExp][] = [
    [{ "dm.basesize": "0" }, /dm\.basesize "0"/],
    [{ "dm.basesize": "-1G" }, /dm\.basesize "-1G"/],
    [{ "dm.fs": "btrfs" }, /ext4 or xfs/],
    [{ "dm.blocksize": "32K" }, /multiple of 64K/],
    [{ "dm.blocksize": "100K" }, /multiple of 64K/],
    [{ "dm.blocksize": "2G" }, /to 1G/],
    [{ "dm.min_free_space": "10" }, /percentage/],
    [{ "dm.min_free_space": "100%" }, /percentage/],
    [{ "dm.xfs_nospace_max_retries": "-1" }, /0 or more/],
    [{ "dm.libdm_log_level": "1" }, /2 \(fatal\) to 7/],
    [{ "dm.datadev": "sdb" }, /absolute path/],
    [{ "dm.thinpooldev": "p", "dm.datadev": "/dev/sdb" }, /leave dm\.datadev out/],
    [
      { "dm.use_deferred_deletion": "true", "dm.use_deferred_removal": "false" },
      /dm\.use_deferred_removal=true/,
    ],
    [{ "dm.blkdiscard": "perhaps" }, /true or false/],
    [{ "dm.mountopt": "a\nb" }, /control character/],
    [{ "dm.when_full": "explode" }, /queue or error/],
  ];
  for (const [options, rule] of cases) assertMatch(refused("invalid argument", options), rule);
});

Deno.test("an unknown option names its nearest neighbour", () => {
  assertMatch(refused("invalid argument", { "dm.basesise": "1G" }), /did you mean dm\.basesize\?/);
  assertMatch(refused("invalid argument", { "dm.fss": "xfs" }), /did you mean dm\.fs\?/);
});

Deno.test("setting LVM up is refused with the way there is", () => {
  for (const key of OPTION_KEYS.filter((key) => /directlvm|thinp_/.test(key))) {
    assertMatch(refused("not supported", { [key]: "1" }), /lvcreate .* dm\.thinpooldev/);
  }
});

Deno.test("a layer's size is for read-write layers, and in whole sectors", () => {
  const spec = (readWrite: boolean, options: [string, string][]) => ({
    parent: undefined,
    readWrite,
    mountLabel: undefined,
    storageOptions: new Map(options),
  });
  assertEquals(parseLayerSize(spec(true, [])), undefined);
  assertEquals(parseLayerSize(spec(true, [["size", "1G"]])), 2 ** 30);
  assertEquals(parseLayerSize(spec(true, [["size", "1000"]])), 1024);
  const refused = assertThrows(() => parseLayerSize(spec(false, [["size", "1G"]])), VeneerError);
  assertEquals(refused.remedy, { kind: "create read-write" });
  assertThrows(() => parseLayerSize(spec(true, [["siz", "1G"]])), VeneerError, "size");
});

Deno.test("mount options are flags and data", () => {
  const choice = {
    fileSystem: "xfs",
    readOnly: true,
    options: "nodev,noatime,logbsize=64k",
    label: "",
  };
  assertEquals(optionList(choice), [
    "discard",
    "nouuid",
    "nodev",
    "noatime",
    "logbsize=64k",
    "ro",
  ]);
  assertEquals(splitOptions(optionList(choice)), {
    flags: MS_NODEV | MS_NOATIME | MS_RDONLY,
    data: "discard,nouuid,logbsize=64k",
  });
  assertEquals(splitOptions(["ro", "rw", "noatime", "atime"]), { flags: 0, data: "" });
  const labelled = {
    ...choice,
    fileSystem: "ext4",
    readOnly: false,
    options: "rw",
    label: "a:b:c0,c1",
  };
  assertEquals(splitOptions(optionList(labelled)).data, 'discard,context="a:b:c0,c1"');
  assertThrows(() => optionList({ ...labelled, label: 'a"b' }), VeneerError, "mount label");
});

Deno.test("ids that the layout has other uses for are refused", () => {
  using dir = tempDir();
  const names = new DeviceNames(Home.open(dir.path, "devicemapper", IDENTITY));
  assertMatch(names.prefix, /^docker-\d+:\d+-\d+$/);
  assertEquals(names.pool, `${names.prefix}-pool`);
  assertEquals(names.device(""), `${names.prefix}-base`);
  assertEquals(names.device("abc"), `${names.prefix}-abc`);
  const taken = ["base", "pool", "deviceset-metadata", "transaction-metadata", "json.migrated"];
  for (const id of [...taken, "a.veneer-new", "a.veneer-old"]) {
    assertThrows(() => names.checkId(id), VeneerError, "choose another id");
    assert(!isRecordName(id) || id === "pool");
  }
  const room = 127 - names.prefix.length - 1;
  names.checkId("x".repeat(room));
  assertEquals(names.device("x".repeat(room)).length, 127);
  assertThrows(() => names.checkId("x".repeat(room + 1)), VeneerError, `room for ${room}`);
});
