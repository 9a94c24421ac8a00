/**
 * The service for containerd against containerd's own overlayfs snapshotter on a socket: a hop each, a store each on
 * the file system that `VENEER_TEST_DIR` lies on, and one client that knows neither.
 *
 * Layers are not synced on either side, as is containerd's default. Both sync a commit's record before they answer.
 *
 * @module
 */
import { endSides, startSides, THEIRS } from "./service_sides.ts";
import { CHANGES, measureCalls, QUESTIONS } from "./snapshot_calls.ts";
import { printSystemCalls } from "./system_calls.ts";

const sides = await startSides();
console.log(
  `== services, overlay2 on ${
    Deno.env.get("VENEER_TEST_FS")
  }, ${CHANGES} changes or ${QUESTIONS} questions a turn`,
);
try {
  await measureCalls(sides, THEIRS, true);
  console.log("\nresident memory");
  for (const { name, process } of sides) {
    const status = Deno.readTextFileSync(`/proc/${process.pid}/status`);
    const [rss, peak] = ["VmRSS", "VmHWM"].map((key) =>
      Number(status.match(new RegExp(`${key}:\\s+(\\d+)`))![1]) / 1024
    );
    console.log(`  ${name.padEnd(44)} ${rss.toFixed(0)} MiB, ${peak.toFixed(0)} at most`);
  }
  await printSystemCalls(sides);
} finally {
  await endSides(sides);
}
