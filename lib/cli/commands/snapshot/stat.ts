/**
 * `veneer snapshot stat`: shows the details of a snapshot.
 *
 * @module
 */
import { escapePath } from "../../../base/printable.ts";
import type { Run } from "../context.ts";
import { secondTime } from "../../times.ts";
import { kindOf, snapshotToJson } from "./info.ts";
import { findKey } from "./keys.ts";

export const run: Run = async (context) => {
  const info = await context.readSnapshots((snapshotter) =>
    snapshotter.stat(findKey(context, snapshotter, context.operands[0]))
  );
  await context.output.resultTable(snapshotToJson(info), () => [
    [info.kind === "committed" ? "Name:" : "Key:", escapePath(info.name)],
    ["Kind:", kindOf(info)],
    ["Parent:", escapePath(info.parent) || "none"],
    ["Created:", secondTime(info.created)],
    ["Updated:", secondTime(info.updated)],
    ["Layer:", info.layer],
    ...[...info.labels].map(([key, value]) => ["Label:", escapePath(`${key}=${value}`)]),
  ]);
};
