/** Docker's own suite of graph drivers on the plugin, with devicemapper. */
// @runs on guest ext4
import { dockerSuite } from "../../services/docker_suite.ts";
import { lacking, SMALL } from "./support.ts";

/** The case of sizes makes a layer of 50 MiB, which is no smaller than the base. */
dockerSuite("devicemapper", {
  lacking,
  hasSizes: true,
  options: [...SMALL, "dm.basesize=48M"],
});
