/**
 * Debian 12's and Debian 13's Docker on the plugin: builds at once, user namespaces, kills at random moments.
 */
// @runs on ext4, xfs, btrfs
import { IS_LONG, needs, TEST_FS } from "../support/cases.ts";
import { randomOf } from "../support/random.ts";
import type { DaemonSettings } from "../peers/docker.ts";
import {
  atOnce,
  everyday,
  killed,
  PluginDocker,
  remapped,
  restarts,
} from "../peers/docker_plugin.ts";
import { fetched, lacksEngines } from "./engines.ts";

const lacking = lacksEngines();
const driver = TEST_FS === "btrfs" ? "btrfs" : "overlay2";

const lacksTime = IS_LONG ? undefined : "it is in the long run";
const ROUNDS = 100;

const TRIXIE: DaemonSettings = {
  path: [fetched("trixie", "usr/sbin"), fetched("trixie", "usr/bin")],
};
const DOCKERS: Readonly<Record<string, DaemonSettings>> = {
  "20.10": {},
  "26.1": TRIXIE,
  "26.1 with BuildKit": {
    ...TRIXIE,
    buildx: fetched("trixie", "usr/libexec/docker/cli-plugins"),
  },
};

/** Each does what the ones before do; Debian 12's lives on the plugin in `tests/peers/`, too. */
const SHORT = "26.1 with BuildKit";

for (const [release, settings] of Object.entries(DOCKERS)) {
  const lacks = lacking ?? (release === SHORT ? undefined : lacksTime);

  needs(lacks, `docker ${release} lives on ${driver}`, async () => {
    await using both = await PluginDocker.start(driver, settings);
    everyday(both, { hasSizes: driver === "btrfs" });
    await atOnce(both, 20);
    await restarts(both);
    both.assertEmpty();
  });

  needs(
    lacking ?? lacksTime,
    `docker ${release}: killed while it builds, on ${driver}`,
    async () => {
      await using both = await PluginDocker.start(driver, settings);
      both.importBase();
      await killed(both, ROUNDS, randomOf(16));
      await both.assertForgotten();
    },
  );

  needs(lacks, `docker ${release}: root of another user's, on ${driver}`, async () => {
    await remapped(driver, settings);
  });
}
