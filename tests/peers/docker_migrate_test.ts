/** A Docker root goes from btrfs to overlay2, and the other way. */
import { lacksFileSystem, lacksProgram, needs } from "../support/cases.ts";
import { lacksDocker } from "./docker.ts";
import { checkMigration } from "./docker_migrate.ts";
import { over, REMAPPED } from "./docker_plugin.ts";

const lacking = await lacksDocker() ?? lacksFileSystem("btrfs") ?? lacksProgram("mkfs.btrfs");
const ours = ["overlay2.allow_btrfs=true"];

for (const [from, to] of [["btrfs", "overlay2"], ["overlay2", "btrfs"]] as const) {
  needs(
    lacking,
    `Docker's root goes from ${from} to ${to}, and its containers start there`,
    () => checkMigration({ disk: "btrfs", from, to, ours }),
  );
}

needs(lacking, "Docker's root goes to another driver while root is another user's", async () => {
  using _uids = over("/etc/subuid", `nobody:${REMAPPED}:65536\n`);
  using _gids = over("/etc/subgid", `nobody:${REMAPPED}:65536\n`);
  const args = ["--userns-remap=nobody:nogroup"];
  const way = { disk: "btrfs", from: "btrfs", to: "overlay2", ours, args } as const;
  await checkMigration({ ...way, rootId: REMAPPED });
});
