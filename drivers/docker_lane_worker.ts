/**
 * The Worker of a lane of Docker's service: a thread that has a store of layers open.
 *
 * @module
 */
/// <reference no-default-lib="true" />
/// <reference lib="deno.worker" />
import { IdMap } from "../lib/base/id_maps.ts";
import { listenForHolders, performer } from "../lib/services/docker/perform.ts";
import { serveLane } from "../lib/services/lanes/lane.ts";
import { openForEngine } from "./registry.ts";

let holders: () => readonly string[] = () => [];

serveLane(self, {
  open({ root, driver, options, uidmap, gidmap }, voice) {
    const listening = listenForHolders((message) => voice.warn(message));
    holders = listening.holders;
    return openForEngine({
      root,
      driver,
      options,
      idMaps: { uids: IdMap.parse(uidmap), gids: IdMap.parse(gidmap) },
      warn: listening.warn,
    });
  },
  perform: performer(() => holders()),
});
