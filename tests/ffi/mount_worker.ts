/** Mounts tmpfs on the directory it is sent, in a mount namespace of its own; posts what it then sees. */
import { O_DIRECTORY, O_RDONLY, open, withFd } from "../../ffi/files.ts";
import { mount, MS_PRIVATE, MS_REC } from "../../ffi/mount.ts";
import { fchdir, unshareMountNamespace } from "../../ffi/process.ts";
import { statfs } from "../../ffi/statfs.ts";

const thread = self as unknown as {
  onmessage: (event: MessageEvent<string>) => void;
  postMessage(data: unknown): void;
};

thread.onmessage = ({ data: directory }) => {
  unshareMountNamespace();
  mount({ target: "/", flags: MS_REC | MS_PRIVATE });
  mount({ source: "t", target: directory, type: "tmpfs" });
  Deno.mkdirSync(`${directory}/sub`);
  withFd(open(directory, O_RDONLY | O_DIRECTORY), fchdir);
  mount({ source: "t2", target: "sub", type: "tmpfs" });
  thread.postMessage({ type: statfs(directory).type, relative: statfs("sub").type });
};
