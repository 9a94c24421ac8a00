/**
 * `veneer snapshot tree`: draws the snapshots with their sizes.
 *
 * @module
 */
import { type GraphFormat, graphLines } from "../../graph_formats.ts";
import { drawTree, type TreeLine } from "../../layer_tree.ts";
import { type Screen, screenFor } from "../../shorten.ts";
import type { Style } from "../../style.ts";
import { messageOf, remedyOf } from "../../../base/errors.ts";
import { escapePath } from "../../../base/printable.ts";
import { formatSize } from "../../../base/sizes.ts";
import { OFFERED } from "../../../images/records.ts";
import type { SnapshotInfo, Snapshotter, Usage } from "../../../snapshots/snapshotter.ts";
import type { CommandContext, Run } from "../context.ts";
import { kindOf, snapshotToJson } from "./info.ts";

/** A snapshot in the drawing. */
interface Drawn extends SnapshotInfo {
  readonly id: string;
}

export const run: Run = (context) =>
  context.readSnapshots((snapshotter) => {
    const { options, output } = context;
    const usageOf = (name: string) =>
      options.flag("brief") ? undefined : tryUsage(context, snapshotter, name);
    const snapshots = Array.from(snapshotter.walk(), (info) => ({ ...info, id: info.name }));
    const format = options.value("format") as GraphFormat | undefined;
    if (format !== undefined) {
      const nodes = snapshots.map((info) => ({
        ...info,
        notes: notesOf(info, usageOf(info.name)),
      }));
      return output.result(
        { format, graph: [...graphLines(format, nodes)].join("\n") },
        () => graphLines(format, nodes),
      );
    }
    const { shorten } = screenFor(snapshots.map(({ id }) => id), options.flag("no-trunc"));
    output.list(
      drawTree(snapshots),
      ({ layer }) => {
        const { bytes = null, inodes = null } = usageOf(layer.name) ?? {};
        return { ...snapshotToJson(layer), bytes, inodes };
      },
      (line) => describe(output.style, shorten, line, usageOf(line.layer.name)),
    );
  });

function describe(
  style: Style,
  shorten: Screen["shorten"],
  { prefix, layer: { name, kind, labels }, oddity }: TreeLine<Drawn>,
  usage: Usage | undefined,
): string {
  return [
    `${style("dim", prefix)}${style("bold", shorten(escapePath(name)))}`,
    ...usage ? [style("dim", formatSize(usage.bytes))] : [],
    ...kind === "committed" ? [] : [style("green", kind)],
    ...labels.has(OFFERED) ? [style("dim", "offered")] : [],
    ...oddity ? [style("yellow", shorten(escapePath(oddity)))] : [],
  ].join("  ");
}

/** The lines below a snapshot's name in a graph. */
function notesOf(info: SnapshotInfo, usage: Usage | undefined): string[] {
  return [
    ...usage ? [formatSize(usage.bytes)] : [],
    ...info.kind === "committed" && !info.labels.has(OFFERED) ? [] : [kindOf(info)],
  ];
}

/**
 * The space that a snapshot adds; `undefined` if it cannot be counted, for example after its
 * removal.
 */
function tryUsage(
  { output }: CommandContext,
  snapshotter: Snapshotter,
  name: string,
): Usage | undefined {
  try {
    return snapshotter.usage(name);
  } catch (error) {
    output.warn(`no size of ${name}: ${messageOf(error)}`, remedyOf(error));
    return undefined;
  }
}
