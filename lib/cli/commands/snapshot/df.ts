/**
 * `veneer snapshot df`: shows the disk use of the snapshots, and the space that could be reclaimed.
 *
 * @module
 */
import { codeOf } from "../../../base/errors.ts";
import type { Snapshotter } from "../../../snapshots/snapshotter.ts";
import { type Member, printUses, usesOf } from "../../disk_use.ts";
import type { Run } from "../context.ts";

export const run: Run = async (context) => {
  const { options, output } = context;
  const isEngines = options.value("service") !== undefined;
  const report = await context.readSnapshots((snapshotter) => {
    const members = Array.from(snapshotter.walk(), ({ name, parent, kind }): Member => ({
      id: name,
      parent,
      count: () => snapshotter.usage(name).bytes,
      heldBy: () => {
        if (isEngines) return "its engine";
        return kind === "active" && isMounted(snapshotter, name) ? "a mount" : undefined;
      },
    }));
    return {
      of: "snapshots" as const,
      driver: snapshotter.name,
      home: snapshotter.home,
      uses: usesOf(members, output),
    };
  });
  await printUses(output, {
    ...report,
    removal: isEngines ? undefined : ["snapshot", "rm"],
    inBytes: options.flag("bytes"),
    isWhole: options.flag("no-trunc"),
  });
};

function isMounted(snapshotter: Snapshotter, key: string): boolean {
  try {
    snapshotter.checkUnused(key);
    return false;
  } catch (error) {
    return codeOf(error) === "in use";
  }
}
