/**
 * `veneer serve docker`: answers Docker's graph driver protocol on a socket.
 *
 * @module
 */
import { basename, dirname } from "@std/path";
import { AUTO } from "../../../../drivers/names.ts";
import { VeneerError } from "../../../base/errors.ts";
import { IdMap } from "../../../base/id_maps.ts";
import { DOCKER_ADDRESS } from "../../../services/configuration/service.ts";
import { serveDocker } from "../../../services/docker/serve.ts";
import { type LogFormat, type LogLevel, ServiceLog } from "../../../services/log.ts";
import { Home } from "../../../store/home.ts";
import { RunState } from "../../../store/run_state.ts";
import { holdForService } from "../../../store/service_hold.ts";
import { requireRoot, type Run } from "../context.ts";

/** The options whose values the daemon sends. */
const DAEMONS = ["root", "uidmap", "gidmap"];

export const run: Run = async ({ options, output, drivers }) => {
  const given = DAEMONS.find((name) => options.values(name).length > 0);
  if (given !== undefined) {
    throw new VeneerError(
      "usage",
      `option --${given}: dockerd names its value, from its own configuration; leave it out`,
    );
  }
  requireRoot();
  const format = options.value("log-format") ?? (output.json ? "json" : "text");
  const level = options.value("log-level") ?? "info";
  await serveDocker({
    address: options.value("address") ?? DOCKER_ADDRESS,
    driver: options.value("driver") ?? AUTO,
    options: options.values("option"),
    startLane: await drivers.dockerLaneStarter(),
    hold(path, { uidmap, gidmap }) {
      const idMaps = { uids: IdMap.parse(uidmap), gids: IdMap.parse(gidmap) };
      return holdForService(new RunState(Home.open(dirname(path), basename(path), idMaps)), path);
    },
    log: new ServiceLog(format as LogFormat, level as LogLevel),
  });
};
