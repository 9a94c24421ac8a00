/**
 * The options of an aufs mount: those of `mount(2)`, those appended afterwards, and the lists for
 * other programs.
 *
 * Nothing here calls the kernel. The branches are the layer's own directory, if it has one to show,
 * and those of the layers below it, in this order. Branches beyond one call are appended by
 * remounting, a layer each time.
 *
 * @module
 */
import { encode } from "../../ffi/cstring.ts";
import { MOUNT_DATA_MAX } from "../../ffi/mount.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import { contextOption } from "../union/mount_label.ts";

/**
 * The directories that are joined: absolute paths, below a home that {@linkcode checkHome} does not
 * refuse.
 */
export interface Branches {
  /** The layer's id. */
  readonly id: string;
  /** The layer's own directory; absent if the mount only shows the layers below. */
  readonly upper: string | undefined;
  /** Those of the layers below, the parent's first. */
  readonly lowers: readonly string[];
  /** All branches are read-only, so that nothing of aufs's own is written to them. */
  readonly readOnly: boolean;
  readonly label?: string;
}

/** The parts of a mount of a layer. */
export interface AufsMount extends Branches {
  /**
   * Whether the kernel has `dirperm1`: a directory's mode is that of its uppermost branch alone.
   */
  readonly dirperm1: boolean;
  /** The file for aufs's tables of inode numbers; if left out, they are in the writable branch. */
  readonly xino?: string;
}

/** The data of the mount, and of each remount after it. */
export interface MountData {
  readonly data: string;
  readonly appends: readonly string[];
}

/**
 * The most branches that one call takes, whatever its length. aufs keeps its parsed options, of 48
 * bytes on 64-bit machines, in a page, and one place is for the end: 84 options (`struct au_opt` in
 * `fs/aufs/opts.h`, and the uses of `max_opt`). Three are for `dio`, `xino` and `dirperm1`.
 */
const MAX_BRANCHES = 81;

/**
 * Packs branches into the first call until a page is full, and leaves the rest for appending.
 *
 * @throws {VeneerError} `limit exceeded` for a label that leaves no room
 */
export function mountData(mount: AufsMount): MountData {
  const { first, rest } = pack(mount);
  return {
    data: `br:${first.join(":")}${optionTail(mount)}`,
    appends: rest.map((branch) => `append:${branch}${labelTail(mount)}`),
  };
}

/**
 * The same as lists of options for another program: of the mount, and of each remount after it.
 * They have `br=` and `append=`, which aufs takes like `br:` and `append:`: mount(8) of util-linux
 * 2.39 and later splits options at their first `=`.
 *
 * @param longest how long the value of an option with several branches may be, in bytes: that
 * mount(8) uses `fsconfig(2)`, which takes `FSCONFIG_STRING_MAX`
 * @throws as {@linkcode mountData}
 */
export function optionLists(mount: AufsMount, longest = MOUNT_DATA_MAX): string[][] {
  const { first, rest } = pack(mount, longest);
  const access = mount.readOnly ? ["ro"] : [];
  return [
    [...access, `br=${first.join(":")}`, ...options(mount)],
    ...rest.map((branch) => [...access, "remount", `append=${branch}`, ...labelOption(mount)]),
  ];
}

/** The branches that the first call takes in a value of at most `longest` bytes, and the rest. */
function pack(
  mount: AufsMount,
  longest = MOUNT_DATA_MAX,
): { readonly first: string[]; readonly rest: string[] } {
  const all = branches(mount);
  const others = byteLength(`br:${optionTail(mount)}`);
  let value = -1, taken = 0;
  for (; taken < all.length && taken < MAX_BRANCHES; taken++) {
    value += byteLength(`:${all[taken]}`);
    if (taken === 0) checkLength(mount.id, others + value);
    else if (value > Math.min(longest, MOUNT_DATA_MAX - others)) break;
  }
  const rest = all.slice(taken);
  for (const branch of rest) {
    checkLength(mount.id, byteLength(`append:${branch}${labelTail(mount)}`));
  }
  return { first: all.slice(0, taken), rest };
}

/**
 * Refuses a home whose path would end a branch where aufs parses options: it knows no escapes.
 *
 * @throws {VeneerError} `not supported`
 */
export function checkHome(home: string): void {
  const [character] = /[,:="]/.exec(home) ?? [];
  if (character === undefined) return;
  throw new VeneerError(
    "not supported",
    `the path ${home} has a ${character}, and aufs mounts no layers from such a path; ` +
      "bind-mount the store's root to another path and use that one",
  );
}

function branches({ upper, lowers, readOnly }: Branches): string[] {
  const own = upper === undefined ? [] : [`${upper}=${readOnly ? "ro+wh" : "rw"}`];
  return [...own, ...lowers.map((lower) => `${lower}=ro+wh`)];
}

function options({ dirperm1, xino, label }: AufsMount): string[] {
  return [
    "dio",
    ...(xino === undefined ? [] : [`xino=${xino}`]),
    ...(dirperm1 ? ["dirperm1"] : []),
    ...labelOption({ label }),
  ];
}

/** The data of the same mount without the option: the paths before it contain no comma. */
export const withoutDirperm1 = (data: string): string => data.replace(",dirperm1", "");

const labelOption = ({ label }: Pick<AufsMount, "label">) =>
  label === undefined ? [] : [contextOption(label)];

const tail = (options: readonly string[]) => options.map((option) => `,${option}`).join("");
const optionTail = (mount: AufsMount) => tail(options(mount));
const labelTail = (mount: AufsMount) => tail(labelOption(mount));

function checkLength(id: string, length: number): void {
  if (length <= MOUNT_DATA_MAX) return;
  throw new VeneerError(
    "limit exceeded",
    `layer ${id}: its mount options have ${length} bytes, and mount(2) takes ${MOUNT_DATA_MAX}; ` +
      "use a shorter label or a store with a shorter path",
  );
}

const byteLength = (text: string) => encode(text).length;
