/**
 * `veneer serve containerd`: answers containerd's snapshots API on a socket.
 *
 * @module
 */
import { VeneerError } from "../../../base/errors.ts";
import { openStoresDirectory } from "../../../store/home.ts";
import { serveContainerd } from "../../../services/containerd/serve.ts";
import { type LogFormat, type LogLevel, ServiceLog } from "../../../services/log.ts";
import { requireRoot, type Run } from "../context.ts";

/** Below `<root>`, where each service has stores of its own. */
const SERVICES = "services";

export const run: Run = async (context) => {
  const { options, root, drivers } = context;
  requireRoot();
  const name = serviceName(options.value("name") ?? "veneer");
  const format = options.value("log-format") ?? (context.output.json ? "json" : "text");
  const level = options.value("log-level") ?? "info";
  await serveContainerd({
    address: options.value("address") ?? "/run/veneer/containerd.sock",
    name,
    store: {
      root: openStoresDirectory(root, [SERVICES, name], context.idMaps),
      driver: options.value("driver") ?? "auto",
      options: options.values("option"),
      uidmap: options.values("uidmap"),
      gidmap: options.values("gidmap"),
    },
    startLane: await drivers.laneStarter(),
    log: new ServiceLog(format as LogFormat, level as LogLevel),
  });
};

/** A service's name is a directory's. */
function serviceName(name: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/.test(name)) return name;
  throw new VeneerError(
    "usage",
    `option --name ${JSON.stringify(name)}: letters, digits, _, . and -, at most 64, ` +
      "the first a letter or digit",
  );
}
