/** A store of Docker's on devicemapper, read without Docker. */
// @runs on guest ext4
import { assertEquals } from "@std/assert";
import { join } from "@std/path";
import { mountControlGroups } from "../../peers/docker.ts";
import { checkStore } from "../../peers/docker_without_daemon.ts";
import { lacksProgram, must, needs, run, tempDir } from "../../support/cases.ts";
import { deviceNames, FILE_SYSTEM, lacking } from "./support.ts";

const lacks = lacking ?? lacksProgram("dockerd") ?? lacksProgram("docker") ??
  lacksProgram("runc");

const OPTIONS = [
  `dm.basesize=${FILE_SYSTEM === "xfs" ? "400M" : "96M"}`,
  `dm.fs=${FILE_SYSTEM}`,
  "dm.override_udev_sync_check=true",
];

needs(
  lacks,
  "Docker's store of devicemapper is read without its daemon, and nothing of it changes",
  async () => {
    mountControlGroups();
    const loops = () => run("losetup", "--all", "--noheadings").stdout;
    const before = loops();
    const files = ["dm.loopdatasize=512M", "dm.loopmetadatasize=8M"];
    await checkStore("devicemapper", [...OPTIONS, ...files]);
    assertEquals([deviceNames(), loops()], [[], before]);
  },
);

/** The name of the pool, as of a volume group's. */
const POOL = "vg-thinpool";

/** The sizes of its devices, in MiB. */
const SIZES = { metadata: 8, data: 512 };

needs(
  lacks ?? lacksProgram("dmsetup") ?? lacksProgram("losetup"),
  "Docker's store of devicemapper is read from a pool on devices, and nothing of it changes",
  async () => {
    mountControlGroups();
    using dir = tempDir("pool-");
    using scope = new DisposableStack();
    const files = Object.entries(SIZES).map(([name, size]) => {
      const file = join(dir.path, name);
      must("truncate", "-s", `${size}M`, file);
      const loop = must("losetup", "--find", "--show", file).trim();
      scope.defer(() => void must("losetup", "--detach", loop));
      return { file, loop };
    });
    const [metadata, data] = files.map(({ loop }) => loop);
    const table = `0 ${SIZES.data * 2048} thin-pool ${metadata} ${data} 128 0`;
    must("dmsetup", "create", POOL, "--noudevsync", "--table", table);
    scope.defer(() => void must("dmsetup", "remove", "--noudevsync", POOL));
    const content = () => {
      // The pool writes its metadata out, and begins anew.
      must("dmsetup", "suspend", "--noudevsync", POOL);
      must("dmsetup", "resume", "--noudevsync", POOL);
      return must("sha256sum", ...files.map(({ file }) => file));
    };
    const options = [...OPTIONS, `dm.thinpooldev=/dev/mapper/${POOL}`];
    await checkStore("devicemapper", options, { name: POOL, content });
    assertEquals(deviceNames(), [POOL]);
  },
);
