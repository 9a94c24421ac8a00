/**
 * Words that people bring along from other tools, and the commands here that do the same.
 *
 * @module
 */

/** Commands by such words, also behind a group's word if the group has that command. */
const SAME: Readonly<Record<string, readonly string[]>> = {
  list: ["ls"],
  ps: ["ls"],
  delete: ["rm"],
  del: ["rm"],
  remove: ["rm"],
  unmount: ["umount"],
  info: ["stat", "inspect"],
  show: ["stat", "inspect"],
  create: ["prepare"],
  add: ["create", "prepare"],
  new: ["create", "prepare"],
  run: ["exec"],
  sh: ["shell"],
  enter: ["shell"],
  import: ["apply"],
  load: ["import", "apply"],
  unpack: ["apply"],
  export: ["diff"],
  save: ["diff"],
  prune: ["cleanup"],
  du: ["df"],
  usage: ["df"],
  snap: ["snapshot"],
  snapshots: ["snapshot"],
  images: ["image"],
  rmi: ["image"],
  completion: ["completions"],
};

/** Words for things that Veneer does not have, and the way to go. */
const MISSING: Readonly<Record<string, string>> = {
  containers: "Veneer keeps layers, not containers; `veneer ls` lists them",
  pull: "Veneer fetches nothing; `veneer apply` fills a layer from a tar",
  push: "Veneer sends nothing; `veneer diff` writes a layer as a tar",
  options: "`veneer help options` lists those of drivers",
  "storage-options": "`veneer help options` lists those of layers, too",
  build: "Veneer builds no images; `veneer shell` enters a layer to change it",
};

/**
 * The rest of a message about a command that does not exist, behind its last `; `: `undefined` if
 * the word is no other tool's.
 *
 * @param known the words that may stand there
 * @param isFirst whether the word stands behind no group's
 */
export function hintFor(
  word: string,
  known: readonly string[],
  isFirst: boolean,
): string | undefined {
  const same = Object.hasOwn(SAME, word) ? SAME[word] : [];
  const found = same.find((command) => known.includes(command));
  if (found !== undefined) return `did you mean ${found}?`;
  return isFirst && Object.hasOwn(MISSING, word) ? MISSING[word] : undefined;
}
