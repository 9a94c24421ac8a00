/**
 * A node of containers with a limit, some of which fill their space: these meet it, and the others write
 * and read as if they were alone.
 *
 * `VENEER_TEST_LONG` has 200 containers, of which 5 fill theirs.
 */
// @runs on btrfs, guest ext4, guest xfs
import { assert, assertEquals, assertMatch } from "@std/assert";
import { quotaLacking } from "../../../drivers/overlay2/project_quota.ts";
import { disableQuota, quotaStatus } from "../../../ffi/btrfs_quota.ts";
import { O_DIRECTORY, O_RDONLY, open, withFd } from "../../../ffi/files.ts";
import { BTRFS_MAGIC, statfs } from "../../../ffi/statfs.ts";
import { TestService } from "../../services/service_support.ts";
import { commit, make, readMounts } from "../../services/snapshots_client.ts";
import { IS_LONG, lacksFileSystem, must, needs, unmountBelow } from "../../support/cases.ts";
import { storeDir } from "../../support/store_dir.ts";

const CONTAINERS = IS_LONG ? 200 : 12, FULL = IS_LONG ? 5 : 2;
const MIB = 1 << 20, LIMIT = 8 * MIB;

const directory = Deno.env.get("VENEER_TEST_DIR") ?? "/tmp";
const driver = statfs(directory).type === BTRFS_MAGIC ? "btrfs" : "overlay2";
const lacking = driver === "btrfs"
  ? undefined
  : lacksFileSystem("overlay") ?? quotaLacking(directory);

/** Writes until there is no room, a file of a MiB at a time, and each to the disk. */
const FILL =
  'for i in $(seq 64); do dd if=/dev/urandom of="$0/full-$i" bs=64k count=16 conv=fsync || exit; done';

/** A container's own content, different from that of every other. */
const contentOf = (container: number) => new Uint8Array(256 << 10).fill(container);

/** A service with an image that is larger than the limit, and the containers' mounts. */
async function startNode(scope: AsyncDisposableStack): Promise<string[]> {
  const dir = scope.use(storeDir());
  scope.defer(turnQuotaOff);
  const service = scope.use(
    await TestService.at(`${dir.path}/root`, driver, "-o", `snapshot.size=${LIMIT}`),
  );
  scope.defer(() => makeWritable(`${service.home}/snapshots`));
  const mounts = `${dir.path}/mounts`;
  scope.defer(() => unmountBelow(mounts));
  Deno.mkdirSync(mounts);
  using client = await service.connect();
  const prepare = async (key: string, parent: string) => {
    const { status, message, messages } = await client.call("Prepare", make(key, parent));
    assertEquals(status, 0, message);
    const [{ type, source, options }] = readMounts(messages[0]);
    const at = `${mounts}/${key.replaceAll("/", "-")}`;
    Deno.mkdirSync(at);
    const words = type === "bind" ? ["--bind"] : ["-t", type, "-o", options.join(",")];
    must("mount", ...words, source, at);
    return at;
  };
  const image = await prepare("default/1/extract-1", "");
  Deno.writeFileSync(`${image}/large`, new Uint8Array(2 * LIMIT).fill(7));
  must("umount", image);
  const { status } = await client.call("Commit", commit("image", "default/1/extract-1"));
  assertEquals(status, 0);
  const containers: string[] = [];
  for (let i = 0; i < CONTAINERS; i++) {
    containers.push(await prepare(`default/${i + 2}/c${i}`, "image"));
  }
  return containers;
}

/** Committed subvolumes are deleted with the directory that they are in. */
function makeWritable(snapshots: string): void {
  if (driver !== "btrfs") return;
  for (const { name } of Deno.readDirSync(snapshots)) {
    must("btrfs", "property", "set", "-f", "-t", "subvol", `${snapshots}/${name}`, "ro", "false");
  }
}

function turnQuotaOff(): void {
  if (driver !== "btrfs") return;
  const volume = (fd: number) => quotaStatus(fd).mode === "off" || disableQuota(fd);
  withFd(open(directory, O_RDONLY | O_DIRECTORY), volume);
}

needs(lacking, `${driver}: containers that fill their space disturb no others`, async () => {
  await using scope = new AsyncDisposableStack();
  const containers = await startNode(scope);
  const full = containers.slice(0, FULL), others = containers.slice(FULL);
  const fillers = full.map((root) =>
    new Deno.Command("sh", { args: ["-c", FILL, root], stdout: "null", stderr: "piped" }).output()
  );
  // Meanwhile the others write, over and over, and go on after the full ones are full.
  let areFull = false, rounds = 0;
  const ended = Promise.all(fillers).finally(() => areFull = true);
  for (let isLast = false; !isLast; rounds++) {
    isLast = areFull;
    for (const [i, root] of others.entries()) {
      Deno.writeFileSync(`${root}/own`, contentOf(i + rounds));
      if (i % 16 === 0) await new Promise((resolve) => setTimeout(resolve, 0));
    }
    must("sync", "-f", others[0]);
    for (const [i, root] of others.entries()) {
      assertEquals(Deno.readFileSync(`${root}/own`), contentOf(i + rounds), root);
    }
  }
  for (const { code, stderr } of await ended) {
    assertEquals(code, 1, "it met its limit");
    assertMatch(new TextDecoder().decode(stderr), /No space left on device|Disk quota exceeded/);
  }
  for (const root of full) {
    const files = [...Deno.readDirSync(root)].filter(({ name }) => name.startsWith("full-"));
    const sizes = files.map(({ name }) => Deno.statSync(`${root}/${name}`).size);
    const written = sizes.reduce((sum, size) => sum + size, 0);
    assert(written <= LIMIT && written > LIMIT - 3 * MIB, `${written} of ${LIMIT}`);
  }
  // And the others still have the room that they were promised.
  for (const root of others) Deno.writeFileSync(`${root}/more`, new Uint8Array(LIMIT - 3 * MIB));
  must("sync", "-f", others[0]);
  for (const root of others) assertEquals(Deno.statSync(`${root}/more`).size, LIMIT - 3 * MIB);
  console.log(`${driver}: ${FULL} of ${CONTAINERS} containers full, ${rounds} rounds beside them`);
});
