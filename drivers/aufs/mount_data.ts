/**
 * The options of an aufs mount: for `mount(2)`, for the remounts that append branches, and as lists
 * for other programs.
 *
 * Nothing here calls the kernel. The branches are the layer's own directory, if it is mounted, and
 * then those of the layers below it. Branches that do not fit into the first call are appended by
 * remounts, one for each branch.
 *
 * @module
 */
import { encode } from "../../ffi/cstring.ts";
import { MOUNT_DATA_MAX } from "../../ffi/mount.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import { contextOption } from "../union/mount_label.ts";

/**
 * The directories that a mount joins. They are absolute paths below a home that
 * {@linkcode checkHome} accepts.
 */
export interface Branches {
  /** The layer's id. */
  readonly id: string;
  /** The layer's own directory; absent if the mount only shows the layers below. */
  readonly upper: string | undefined;
  /** The directories of the layers below, the parent's first. */
  readonly lowers: readonly string[];
  /** Whether all branches are read-only, so that aufs writes no files of its own to them. */
  readonly readOnly: boolean;
  readonly label?: string;
}

/** The properties of a layer's mount. */
export interface AufsMount extends Branches {
  /**
   * Whether the kernel has `dirperm1`: then a directory's mode is only that of its uppermost
   * branch.
   */
  readonly dirperm1: boolean;
  /** The file for aufs's tables of inode numbers; by default it is in the writable branch. */
  readonly xino?: string;
}

/** The data of the mount, and of each remount after it. */
export interface MountData {
  readonly data: string;
  readonly appends: readonly string[];
}

/**
 * The most branches that one call takes, even if they are short. aufs keeps the parsed options in
 * one page. An option takes 48 bytes on 64-bit machines, and one entry marks the end, so there may
 * be 84 options (`struct au_opt` in `fs/aufs/opts.h`, and the uses of `max_opt`). Three are for
 * `dio`, `xino` and `dirperm1`.
 */
const MAX_BRANCHES = 81;

/**
 * Puts as many branches into the first call as fit into a page; the rest is appended.
 *
 * @throws {VeneerError} `limit exceeded` if one branch does not fit beside the label
 */
export function mountData(mount: AufsMount): MountData {
  const { first, rest } = pack(mount);
  return {
    data: `br:${first.join(":")}${optionTail(mount)}`,
    appends: rest.map((branch) => `append:${branch}${labelTail(mount)}`),
  };
}

/**
 * The same as lists of options for another program: for the mount, and for each remount after it.
 * They have `br=` and `append=`, which mean the same to aufs as `br:` and `append:`, because
 * mount(8) of util-linux 2.39 and later splits options at the first `=`.
 *
 * @param longest the greatest length of the value of an option with several branches, in bytes:
 * that mount(8) uses `fsconfig(2)`, which takes `FSCONFIG_STRING_MAX`
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

/** The branches for the first call, whose value has at most `longest` bytes, and the rest. */
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
 * Refuses a home whose path has a character at which aufs ends a branch: aufs has no escapes for
 * them.
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

/**
 * The data of the same mount without the option `dirperm1`. The paths before it contain no comma.
 */
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
