/**
 * A writable copy of one tree for each run of a command: a database for each test, a checkout for each build. Copies
 * share all that they do not write.
 *
 *     deno run --allow-all examples/fresh_copies.ts STORE TREE COPIES COMMAND [ARG...]
 *
 * TREE is copied into the store once. COMMAND runs in the root of each copy; what it wrote is told, and thrown away.
 * Ends with the status of the first command that fails.
 */
import { openSnapshotter } from "@veneer/veneer";
import { cpSync } from "node:fs";
import { basename } from "node:path";

const [store, tree, copies, command, ...args] = Deno.args;
if (command === undefined) {
  console.error("usage: fresh_copies.ts STORE TREE COPIES COMMAND [ARG...]");
  Deno.exit(2);
}

using snapshots = await openSnapshotter({ root: store });
const template = basename(tree);
if (!snapshots.exists(template)) {
  const key = `${template}-being-made`;
  snapshots.prepare(key, "");
  cpSync(tree, snapshots.mount(key), { recursive: true, verbatimSymlinks: true });
  snapshots.unmount(key);
  snapshots.commit(template, key);
}

/** Runs the command in the root of a mounted copy; returns its status. */
async function runIn(key: string): Promise<number> {
  const cwd = snapshots.mount(key);
  try {
    const { code } = await new Deno.Command(command, { args, cwd }).spawn().status;
    return code;
  } finally {
    snapshots.unmount(key);
  }
}

for (let i = 1; i <= Number(copies); i++) {
  const key = `${template}-${i}`;
  snapshots.prepare(key, template);
  try {
    const code = await runIn(key);
    const { bytes, inodes } = snapshots.usage(key);
    console.log(`${key}: status ${code}; wrote ${inodes} files, ${bytes} bytes`);
    Deno.exitCode ||= code;
  } finally {
    snapshots.remove(key);
  }
}
