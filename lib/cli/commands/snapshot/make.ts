/**
 * The common part of `prepare` and `view`: everything except the snapshotter's method.
 *
 * @module
 */
import { mountCommand } from "../../mount_command.ts";
import type { Run } from "../context.ts";
import { parseLabels } from "./labels.ts";

/** Returns the command of a method. */
export function makeSnapshot(method: "prepare" | "view"): Run {
  return async (context) => {
    const { options, operands: [key], output } = context;
    const parent = options.value("parent") ?? "";
    const labels = parseLabels(options.values("label"));
    const target = options.value("target");
    const mounts = await context.createSnapshots((snapshotter) =>
      snapshotter[method](key, parent, { labels })
    );
    output.result(
      { key, parent, mounts },
      () => target === undefined ? [] : mounts.map((mount) => mountCommand(mount, target)),
    );
  };
}
