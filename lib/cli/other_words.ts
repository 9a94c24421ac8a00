/**
 * Words that people know from other tools, and the commands of this program that do the same.
 *
 * @module
 */

/** Commands by such words. They also apply after a group's word if the group has that command. */
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

/** Words for things that Veneer does not have, and the alternatives. */
const MISSING: Readonly<Record<string, string>> = {
  containers: "Veneer keeps layers, not containers; `veneer ls` lists them",
  pull: "Veneer fetches nothing; `veneer apply` fills a layer from a tar",
  push: "Veneer sends nothing; `veneer diff` writes a layer as a tar",
  options: "`veneer help options` lists those of drivers",
  "storage-options": "`veneer help options` lists those of layers, too",
  build: "Veneer builds no images; `veneer shell` enters a layer to change it",
};

/**
 * The last part, after `; `, of a message about a command that does not exist; `undefined` if the
 * word is not known from another tool.
 *
 * @param known the words that are valid there
 * @param isFirst whether it is the first word, not one after a group's word
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
