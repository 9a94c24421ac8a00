/**
 * `veneer image history`: lists the steps that made an image.
 *
 * @module
 */
import { escapePath } from "../../../base/printable.ts";
import { formatSize } from "../../../base/sizes.ts";
import { secondOf } from "../../times.ts";
import type { Run } from "../context.ts";
import { described } from "./described.ts";

export const run: Run = async (context) => {
  const { options, output } = context, { history } = await described(context);
  const steps = history.toReversed();
  if (output.json) return output.list(steps, (step) => step, String);
  await output.listTable([
    ["CREATED", "SIZE", "CREATED BY"],
    ...steps.map(({ created, size, createdBy, comment }) => [
      secondOf(created ?? ""),
      formatSize(size),
      escapePath([createdBy, ...comment && createdBy ? [`(${comment})`] : [comment]].join(" ")),
    ]),
  ], options.flag("no-trunc"));
};
