/** Docker's own suite of graph drivers on the plugin, with btrfs. */
// @runs on btrfs
import { dockerSuite } from "../../services/docker_suite.ts";
import { lacking } from "./support.ts";

dockerSuite("btrfs", { lacking, hasSizes: true });
