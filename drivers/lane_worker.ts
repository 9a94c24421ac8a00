/**
 * The Worker of a lane of containerd's service: a thread that has a store of snapshots open.
 *
 * @module
 */
/// <reference no-default-lib="true" />
/// <reference lib="deno.worker" />
import { IdMap } from "../lib/base/id_maps.ts";
import { perform } from "../lib/services/containerd/perform.ts";
import { serveLane } from "../lib/services/lanes/lane.ts";
import { openSnapshotter } from "./snapshotters.ts";

serveLane(self, {
  open: ({ root, driver, options, uidmap, gidmap }, { warn, leftover }) =>
    openSnapshotter({
      root,
      driver,
      options,
      idMaps: { uids: IdMap.parse(uidmap), gids: IdMap.parse(gidmap) },
      warn,
      foreignUses: "ignore",
      later: leftover,
      purpose: "serve",
    }),
  perform,
});
