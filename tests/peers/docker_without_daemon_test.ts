/** Docker's stores without Docker, on the drivers that this machine's kernel has. */
import { lacksFileSystem, lacksProgram, needs } from "../support/cases.ts";
import { lacksDocker } from "./docker.ts";
import { checkStore } from "./docker_without_daemon.ts";

const lacking = await lacksDocker();

for (const driver of ["overlay2", "btrfs"] as const) {
  const lacks = driver === "btrfs"
    ? lacksFileSystem("btrfs") ?? lacksProgram("mkfs.btrfs")
    : lacksProgram("mkfs.ext4");
  needs(
    lacking ?? lacks,
    `Docker's store of ${driver} is read without its daemon, and nothing of it changes`,
    () => checkStore(driver),
  );
}
