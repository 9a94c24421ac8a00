/** What doctor advises for quotas, by the configuration of the kernel. */
import { assertEquals } from "@std/assert";
import { quotaRemedy } from "../../../drivers/overlay2/examine.ts";
import { EXT_MAGIC, XFS_MAGIC } from "../../../ffi/statfs.ts";
import { lackingSettings } from "../../../lib/base/kernel_config.ts";
import { tempDir } from "../../support/cases.ts";

const TMPFS_MAGIC = 0x01021994;

/** The advice on a kernel with these lines in its configuration, or with none that can be read. */
function advice(type: number, lines: string | undefined): string {
  using directory = tempDir("config-");
  const path = `${directory.path}/config`;
  if (lines !== undefined) Deno.writeTextFileSync(path, lines);
  return quotaRemedy(type, (settings) => lackingSettings(settings, ["/missing.gz", path]));
}

const NONE = "CONFIG_QUOTA=y\n# CONFIG_QFMT_V2 is not set\n# CONFIG_XFS_QUOTA is not set\n";
const BOTH = "CONFIG_QUOTA=y\nCONFIG_QFMT_V2=m\nCONFIG_XFS_QUOTA=y\n";

Deno.test("advice on quotas: no feature that this kernel could not mount", () => {
  assertEquals(
    advice(EXT_MAGIC, NONE),
    "leave it so: this kernel was built without CONFIG_QFMT_V2, and could not mount it with the feature quota",
  );
  assertEquals(
    advice(XFS_MAGIC, NONE),
    "leave it so: this kernel was built without CONFIG_XFS_QUOTA, and would not mount it with -o pquota",
  );
  assertEquals(
    advice(TMPFS_MAGIC, NONE),
    "leave it so: this kernel was built without CONFIG_XFS_QUOTA and CONFIG_QFMT_V2, and has no project quotas on any file system",
  );
});

Deno.test("advice on quotas: with them, and with a kernel that does not tell", () => {
  const tune = "`tune2fs -O quota,project` it unmounted, and mount it with -o prjquota";
  assertEquals(advice(EXT_MAGIC, BOTH), tune);
  assertEquals(advice(XFS_MAGIC, BOTH), "mount it with -o pquota");
  assertEquals(advice(TMPFS_MAGIC, BOTH), "put the store on xfs or ext4");
  assertEquals(advice(TMPFS_MAGIC, "CONFIG_XFS_QUOTA=y\n"), "put the store on xfs");
  assertEquals(
    advice(EXT_MAGIC, undefined),
    `if the kernel has CONFIG_QUOTA and CONFIG_QFMT_V2, ${tune}`,
  );
});
