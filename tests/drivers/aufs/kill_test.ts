/**
 * aufs killed at any point: no part of a layer stays without the others. On a kernel without aufs, what needs
 * no mount is killed, and a layer's own directory is looked at for its tree.
 */
// @runs on ext4
// @runs long on xfs, btrfs
import { assertEquals } from "@std/assert";
import { join } from "@std/path";
import { TEMPORARY_SUFFIX } from "../../../lib/store/metadata.ts";
import { skip } from "../../support/cases.ts";
import { lacking, refused } from "./support.ts";
import { killCases } from "../kill/graph.ts";
import { describeTree } from "../../support/trees.ts";
import { names } from "../../support/files.ts";

/** What is staged, and parts that belong to no layer. */
function lost(home: string): string[] {
  const layers = names(`${home}/layers`);
  const parts = ["diff", "mnt", ".veneer/incomplete"].flatMap((part) =>
    names(`${home}/${part}`).map((id) => ({ id, path: `${part}/${id}` }))
  );
  // The next writer of such a record writes over what a killed one left.
  const isStray = (id: string) => !layers.includes(id) && !id.endsWith(TEMPORARY_SUFFIX);
  const stray = parts.filter(({ id }) => isStray(id)).map(({ path }) => path);
  for (const id of layers) assertEquals(names(`${home}/mnt`).includes(id), true, id);
  return [...names(`${home}/.veneer/staging`), ...stray];
}

/** Whiteouts are made when a tar is applied, whatever time it has for them. */
const withoutTimes = (tree: Map<string, string>) =>
  new Map([...tree].map(([path, text]) => [path, path.includes("/.wh.") ? "whiteout" : text]));

if (lacking === undefined) {
  killCases("aufs", undefined, lost);
} else {
  skip("aufs: killed while it mounts and unmounts", lacking);
  killCases("aufs", refused, lost, {
    title: "aufs unmounted",
    operations: ["create", "apply", "diff", "remove", "cleanup"],
    tree: (driver, id) => withoutTimes(describeTree(join(driver.home, "diff", id))),
    makeRoot: (root) => Deno.mkdirSync(join(root, "aufs/layers"), { recursive: true }),
  });
}
