import { IdMap, type IdMaps } from "../../lib/base/id_maps.ts";

/** The maps of a container whose users and groups have other numbers on the host. */
export const MAPPED: IdMaps = {
  uids: new IdMap([{ container: 0, host: 100_000, size: 65_536 }]),
  gids: new IdMap([{ container: 0, host: 200_000, size: 65_536 }]),
};
