/**
 * The lane of an end of a migration: its store, and what is done with it, on whichever thread.
 *
 * @module
 */
import { IdMap } from "../lib/base/id_maps.ts";
import { parseOptions } from "../lib/base/options.ts";
import type { Call, EndStore } from "../lib/migrate/calls.ts";
import { DockerSource } from "../lib/migrate/docker_source.ts";
import { DockerRoot, DockerTarget } from "../lib/migrate/docker_target.ts";
import { type End, LayerSource, SnapshotSource } from "../lib/migrate/source.ts";
import { LayerTarget, SnapshotTarget } from "../lib/migrate/target.ts";
import { type LaneScope, type LaneVoice, serveLane } from "../lib/services/lanes/lane.ts";
import { openDockerStore } from "./docker_stores.ts";
import { AUTO } from "./names.ts";
import { loadFor, openLayers, priorStores } from "./registry.ts";
import { loadForSnapshots, openSnapshots } from "./snapshotters.ts";

/** Serves an end until the message `close`. */
export function serveMigration(scope: LaneScope): void {
  serveLane<Call, End>(scope, {
    open: (store, voice) => openEnd(store as EndStore, voice),
    perform: (end, call, emit) => end.perform(call, emit),
  });
}

async function openEnd(
  { root, driver, options, uidmap, gidmap, of, role, docker }: EndStore,
  voice: LaneVoice,
): Promise<End> {
  const idMaps = { uids: IdMap.parse(uidmap), gids: IdMap.parse(gidmap) };
  const warn = (message: string) => voice.warn(message);
  const open = { root, driver, options, idMaps, warn };
  if (docker !== undefined && role === "source") {
    const pool = parseOptions(options).get("dm.thinpooldev");
    return new DockerSource(openDockerStore({ root: docker.root, driver, pool }), warn);
  }
  if (of === "layers") {
    // The root may have a store of another driver's, such as the source.
    const stores = driver === AUTO ? priorStores(root) : [driver];
    const graph = openLayers(await loadFor(driver, stores), open, stores);
    if (docker !== undefined) {
      return new DockerTarget(graph, idMaps, new DockerRoot(docker.root, docker.driver), warn);
    }
    return role === "source" ? new LayerSource(graph, warn) : new LayerTarget(graph, idMaps, warn);
  }
  const purpose = role === "source" ? "read" : "change";
  const snapshots = openSnapshots(await loadForSnapshots(open), { ...open, purpose });
  return role === "source"
    ? new SnapshotSource(snapshots, warn)
    : new SnapshotTarget(snapshots, warn);
}
