/**
 * `veneer image commit`: makes an image of a snapshot.
 *
 * @module
 */
import type { Run } from "../context.ts";
import { sourceDate } from "../../source_date.ts";

export const run: Run = async (context) => {
  const { options, operands: [key], output } = context;
  const seconds = sourceDate();
  const time = seconds === undefined ? Date.now() : seconds * 1000;
  const made = await context.changeImages((images) =>
    images.commit(key, options.value("name"), {
      message: options.value("message"),
      author: options.value("author"),
      changes: options.values("change"),
      time,
    })
  );
  output.result(made, () => [[...made.names, made.id].join(" ")]);
};
