/**
 * `veneer apply`: fills a layer from a tar.
 *
 * @module
 */
import { O_RDONLY, open, withFd } from "../../ffi/files.ts";
import { fstat } from "../../ffi/stat.ts";
import { openProgress } from "../cli/progress.ts";
import { VeneerError } from "../errors.ts";
import type { Run } from "./context.ts";

const STDIN = 0;

export const run: Run = async (context) => {
  const { options, operands: [id, file = "-"], output } = context;
  const driver = await context.open();
  const size = withInput(file, (input) => {
    using progress = openProgress(`apply ${id}`, inputSize(input, file));
    return driver.applyDiff(id, options.value("parent"), input, {
      onProgress: (bytes) => progress?.update(bytes),
    });
  });
  output.result({ id, size }, () => [String(size)]);
};

function withInput<T>(file: string, use: (input: number) => T): T {
  if (file !== "-") return withFd(open(file, O_RDONLY), use);
  if (Deno.stdin.isTerminal()) {
    throw new VeneerError("usage", "standard input is a terminal; name a tar or use a pipe");
  }
  return use(STDIN);
}

/** The bytes there are to read, where that is known: of a regular file. */
function inputSize(input: number, file: string): number | undefined {
  const stat = fstat(input);
  if (stat.isDirectory) {
    throw new VeneerError("invalid argument", `${file} is a directory; name a tar`);
  }
  return stat.isFile ? stat.size : undefined;
}
