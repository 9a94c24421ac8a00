/**
 * `veneer serve containerd`: answers containerd's snapshots API on a socket.
 *
 * @module
 */
import { AUTO } from "../../../../drivers/names.ts";
import { openStoresDirectory } from "../../../store/home.ts";
import { serveContainerd } from "../../../services/containerd/serve.ts";
import { DEFAULT_ADDRESS, DEFAULT_NAME } from "../../../services/configuration/service.ts";
import { type LogFormat, type LogLevel, ServiceLog } from "../../../services/log.ts";
import { storeHome } from "../../../snapshots/store_home.ts";
import { holdForService } from "../../../store/service_hold.ts";
import { serviceName, SERVICES } from "../../service_name.ts";
import { requireRoot, type Run } from "../context.ts";

export const run: Run = async (context) => {
  const { options, root, drivers } = context;
  requireRoot();
  const name = serviceName(options.value("name") ?? DEFAULT_NAME);
  const format = options.value("log-format") ?? (context.output.json ? "json" : "text");
  const level = options.value("log-level") ?? "info";
  await serveContainerd({
    address: options.value("address") ?? DEFAULT_ADDRESS,
    name,
    store: {
      root: openStoresDirectory(root, [SERVICES, name], context.idMaps),
      driver: options.value("driver") ?? AUTO,
      options: options.values("option"),
      uidmap: options.values("uidmap"),
      gidmap: options.values("gidmap"),
    },
    hold: (home) => holdForService(storeHome(home, context.idMaps).state, home),
    startLane: await drivers.laneStarter(),
    log: new ServiceLog(format as LogFormat, level as LogLevel),
  });
};
