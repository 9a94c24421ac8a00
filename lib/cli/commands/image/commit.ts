/**
 * `veneer image commit`: makes an image of a snapshot.
 *
 * @module
 */
import type { CommitImageOptions } from "../../../images/commit.ts";
import type { Options } from "../../parse.ts";
import type { Run } from "../context.ts";
import { sourceDate } from "../../source_date.ts";

export const run: Run = async (context) => {
  const { options, operands: [key], output } = context;
  const asked = commitOptions(options);
  const made = await context.changeImages((images) =>
    images.commit(key, options.value("name"), asked)
  );
  output.result(made, () => [[...made.names, made.id].join(" ")]);
};

/** The details of a new image from the options. @throws {VeneerError} `usage` */
export function commitOptions(options: Options): CommitImageOptions {
  const seconds = sourceDate();
  return {
    message: options.value("message"),
    author: options.value("author"),
    changes: options.values("change"),
    time: seconds === undefined ? Date.now() : seconds * 1000,
  };
}
