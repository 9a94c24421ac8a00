/** Swaps a directory and a file for each other, as fast as it can, in every tree it is told of, until one is gone. */
import { entryName } from "../../ffi/entry_name.ts";
import { O_DIRECTORY, O_RDONLY, open, withFd } from "../../ffi/files.ts";
import { RENAME_EXCHANGE, tryRenameat } from "../../ffi/names.ts";

const thread = self as unknown as {
  onmessage: (event: MessageEvent<string>) => void;
  postMessage(data: unknown): void;
};

const [DIRECTORY, FILE] = ["directory", "file"].map((name) => entryName(name));

thread.onmessage = ({ data: path }) => {
  withFd(open(path, O_RDONLY | O_DIRECTORY), (tree) => {
    thread.postMessage("swapping");
    while (tryRenameat(tree, DIRECTORY, tree, FILE, RENAME_EXCHANGE) === 0);
  });
  thread.postMessage("gone");
};
