/**
 * `veneer container export`: writes the whole file system of a Docker container as a tar.
 *
 * @module
 */
import { STDOUT_FILENO } from "../../../../ffi/files.ts";
import { withOutput } from "../../../base/descriptors.ts";
import { tarOutput } from "../../tar_output.ts";
import type { Run } from "../context.ts";

export const run: Run = (context) => {
  const { options, operands: [text], output } = context, file = tarOutput(options);
  const warn = (message: string) => output.warn(message);
  return context.readDocker(({ containers }) => {
    const { id } = containers.find(text, warn);
    const bytes = withOutput(
      file === "-" ? STDOUT_FILENO : file,
      (fd) => containers.export(id, fd, warn),
    );
    if (output.json && file !== "-") output.result({ id, file, bytes }, () => []);
  });
};
