/**
 * The commands that serve a container engine, as data.
 *
 * @module
 */
import { SERVICE_OPTIONS } from "./config_table.ts";
import type { GroupSpec, OptionSpec } from "./spec.ts";

const LOG_FORMAT: OptionSpec = {
  name: "log-format",
  value: "FORMAT",
  choices: ["text", "json"],
  summary: "text (the default) or json: how requests are logged",
};

/** `veneer serve …` */
export const SERVE: GroupSpec = {
  name: "serve",
  summary: "keep the layers of a container engine",
  details:
    "A service runs until SIGTERM or SIGINT, and finishes the calls in progress. Each has a store of its own, apart\n" +
    "from that of the other commands: an engine removes snapshots that it does not know.",
  commands: [
    {
      name: "serve containerd",
      summary: "answer containerd's snapshots API on a socket",
      operands: [],
      options: [...SERVICE_OPTIONS, LOG_FORMAT],
      details:
        "Logs one line for each request on standard error, unless --log-level is warn or error. The socket is root's,\n" +
        "in a directory that root alone can write to, which is made if it is missing.",
      examples: [
        ["veneer serve containerd", ""],
        ["veneer serve containerd --address /run/v.sock --driver btrfs", ""],
      ],
    },
    {
      name: "serve docker",
      summary: "answer Docker's graph driver protocol on a socket",
      operands: [],
      options: [
        {
          name: "address",
          value: "SOCKET",
          kind: "file",
          summary: "the socket, named as the driver is (default /run/docker/plugins/veneer.sock)",
        },
        LOG_FORMAT,
      ],
      details:
        "For Docker 20.10 to 27: dockerd --experimental -s veneer. The layers are below dockerd's data directory, in\n" +
        "veneer/DRIVER; dockerd's storage options go over those given here by -o. Start it before dockerd. Logs and\n" +
        "socket are as those of serve containerd.",
      examples: [
        ["veneer serve docker", ""],
        ["veneer --driver btrfs serve docker --address /run/docker/plugins/v.sock", ""],
      ],
    },
  ],
};
