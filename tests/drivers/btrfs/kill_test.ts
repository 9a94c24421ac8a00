/** btrfs killed at any point, with quotas on: no snapshot, no qgroup and no record is left. */
// @runs on btrfs
import { disableQuota, qgroups, quotaStatus, tryEnableQuota } from "../../../ffi/btrfs_quota.ts";
import { tryOpenInSubvolume } from "../../../ffi/btrfs_search.ts";
import { close, O_DIRECTORY, O_RDONLY, open, withFd } from "../../../ffi/files.ts";
import { unwrap } from "../../../ffi/unwrap.ts";
import { TEMPORARY_SUFFIX } from "../../../lib/store/metadata.ts";
import { must, needs } from "../../support/cases.ts";
import { names } from "../../support/files.ts";
import { killCases } from "../kill/graph.ts";
import { directory, lacking } from "./support.ts";

/** What a store must not leave: after `cleanup`, whatever belongs to no layer. */
function lost(home: string): string[] {
  const found: string[] = [];
  const layers = names(`${home}/subvolumes`);
  for (const staged of names(`${home}/.veneer/staging`)) found.push(`staging/${staged}`);
  for (const id of names(`${home}/.veneer/qgroups`)) found.push(`qgroup 0/${id} is still to go`);
  for (const kind of ["quotas", ".veneer/parents", ".veneer/incomplete"]) {
    for (const id of names(`${home}/${kind}`)) {
      // The next writer of the name writes over what a killed one left.
      const mayStay = layers.includes(id) || id.endsWith(TEMPORARY_SUFFIX);
      if (!mayStay) found.push(`${kind}/${id}`);
    }
  }
  for (const path of subvolumesBelow(home)) {
    if (!path.match(/\/subvolumes\/[^/]+$/)) found.push(`subvolume ${path}`);
  }
  return [...found, ...withFd(open(home, O_RDONLY | O_DIRECTORY), qgroupsWithoutSubvolume)];
}

function subvolumesBelow(home: string): string[] {
  const top = home.split("/").at(-3)!; // The case's own directory.
  return must("btrfs", "subvolume", "list", directory).split("\n").filter((line) =>
    line.includes(`/${top}/`)
  );
}

/** Those there were before this file are another's, as are those of the layers that are being looked at. */
function qgroupsWithoutSubvolume(volume: number): string[] {
  return qgroups(volume).filter((id) => !before.has(id) && !isSubvolume(volume, id))
    .map((id) => `qgroup 0/${id}`);
}

function isSubvolume(volume: number, id: bigint): boolean {
  const fd = tryOpenInSubvolume(volume, id);
  if (fd >= 0) close(fd);
  return fd >= 0 || id === 5n; // The file system's own tree.
}

const before = new Set<bigint>();
let turnedOn = false;

needs(lacking, "btrfs: quotas are turned on to be killed with", () => {
  withFd(open(directory, O_RDONLY | O_DIRECTORY), (volume) => {
    turnedOn = quotaStatus(volume).mode === "off";
    if (turnedOn) unwrap(tryEnableQuota(volume, "qgroup"), "quota");
    for (const id of qgroups(volume)) before.add(id);
  });
});

killCases("btrfs", lacking, lost);

needs(lacking, "btrfs: quotas are turned off again", () => {
  if (turnedOn) withFd(open(directory, O_RDONLY | O_DIRECTORY), disableQuota);
});
