/** Docker's own suite of graph drivers on the plugin, with overlay2. */
// @runs on ext4, xfs, guest xfs
import { dockerSuite } from "../../services/docker_suite.ts";
import { TEST_FS } from "../../support/cases.ts";
import { lacking } from "./support.ts";

dockerSuite("overlay2", { lacking, hasSizes: /quota/.test(TEST_FS) });
