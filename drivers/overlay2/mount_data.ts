/**
 * The options of an overlay mount: for the new mount calls, for `mount(2)`, and for other programs.
 *
 * Nothing here calls the kernel: the input is an {@linkcode OverlayMount}, and the result a step or
 * a {@linkcode Mount}.
 *
 * - New calls: one `lowerdir+` for each layer, with at most 255 bytes in each value and 500 layers.
 * - `mount(2)`: one string of at most a page, in which `,`, `:` and `\` would need escapes. If
 *   absolute paths do not fit or contain one of these characters, paths relative to the home are
 *   used.
 *
 * @module
 */
import { encode } from "../../ffi/cstring.ts";
import { FSCONFIG_STRING_MAX, MOUNT_ATTR_RDONLY } from "../../ffi/fsmount.ts";
import { MOUNT_DATA_MAX, MS_RDONLY } from "../../ffi/mount.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import type { Remedy } from "../../lib/base/remedy.ts";
import { contextOption } from "../union/mount_label.ts";
import type { Explain, Mount, MountParameter, MountStep } from "../../lib/mount/plan.ts";

/**
 * The most lower layers of one overlay: `OVL_MAX_STACK` of `fs/overlayfs/params.c` in the kernel.
 */
export const MAX_LOWERS = 500;

/**
 * The most lower layers in one `mount(2)`, which is Docker's limit. With short names they leave
 * room for a label.
 */
export const MAX_LOWERS_OLD = 128;

/**
 * The bytes that the options of a new layer must leave free for `,context="…"`. SELinux's own
 * labels have less than 80.
 */
const LABEL_ROOM = 128;

/** The properties of a layer's mount. All paths except `target` are relative to the home. */
export interface OverlayMount {
  /** The home's absolute path. */
  readonly home: string;
  /** The layer's id, for messages. */
  readonly id: string;
  /** The absolute path of the mount point. */
  readonly target: string;
  /** The lower directories, uppermost first; at least one. */
  readonly lowers: readonly string[];
  /** The upper and the work directory; absent in a read-only mount. */
  readonly upper?: { readonly directory: string; readonly work: string };
  /** Options that depend on the kernel, such as `index=off` and `userxattr`. */
  readonly features: readonly string[];
  readonly volatile: boolean;
  readonly label?: string;
}

/** The step for the mount calls that a home uses. */
export function overlayStep(
  mount: OverlayMount,
  api: "new" | "old",
  readOnly: boolean,
  explain: Explain,
): MountStep {
  return api === "new"
    ? { ...newStep(mount, readOnly ? MOUNT_ATTR_RDONLY : 0), explain }
    : { ...oldStep(mount, readOnly ? MS_RDONLY : 0), explain };
}

/**
 * The step for the new mount calls.
 *
 * @throws {VeneerError} `limit exceeded` for a label of more than 255 bytes
 */
export function newStep(
  mount: OverlayMount,
  attributes: number,
): MountStep & { kind: "fsmount" } {
  const { home, lowers, upper, label } = mount;
  const directories = upper === undefined ? lowers : [...lowers, upper.directory, upper.work];
  const absolute = isPlain(home) &&
    directories.every((path) => byteLength(`${home}/${path}`) <= FSCONFIG_STRING_MAX);
  const directory = (key: string, path: string): MountParameter =>
    absolute ? { key, value: `${home}/${path}` } : { key, value: path, path: true };
  if (label !== undefined && byteLength(label) > FSCONFIG_STRING_MAX) {
    throw labelTooLong(mount.id, label, FSCONFIG_STRING_MAX);
  }

  const parameters = mount.features.map(option);
  for (const lower of lowers) parameters.push(directory("lowerdir+", lower));
  if (upper !== undefined) {
    parameters.push(directory("upperdir", upper.directory), directory("workdir", upper.work));
  }
  if (mount.volatile) parameters.push({ key: "volatile" });
  if (label !== undefined) parameters.push({ key: "context", value: label });
  return {
    kind: "fsmount",
    source: "overlay",
    target: mount.target,
    type: "overlay",
    attributes,
    parameters,
    ...(absolute ? {} : { from: home }),
  };
}

/**
 * The step for `mount(2)`.
 *
 * @throws {VeneerError} `limit exceeded` if the options are longer than a page even with relative
 * paths
 */
export function oldStep(mount: OverlayMount, flags: number): MountStep & { kind: "mount" } {
  const { home, id, target, label } = mount;
  const step = { kind: "mount", source: "overlay", target, type: "overlay", flags } as const;
  const absolute = isPlain(home) ? data(mount, `${home}/`) : undefined;
  if (absolute !== undefined && byteLength(absolute) <= MOUNT_DATA_MAX) {
    return { ...step, data: absolute };
  }
  const relative = data(mount, "");
  if (byteLength(relative) > MOUNT_DATA_MAX) {
    const without = byteLength(data({ ...mount, label: undefined }, ""));
    if (label !== undefined && without <= MOUNT_DATA_MAX) {
      const room = MOUNT_DATA_MAX - without - byteLength(',context=""');
      throw labelTooLong(id, label, Math.max(room, 0));
    }
    throw tooLong(id, byteLength(relative));
  }
  return { ...step, data: relative, from: home };
}

/** The mount for another program, with absolute paths. Its options may be longer than a page. */
export function triple(mount: OverlayMount): Mount {
  const { lowers, upper } = mount;
  const path = (relative: string) => escape(`${mount.home}/${relative}`);
  const options = [
    ...(upper === undefined
      ? []
      : [`workdir=${path(upper.work)}`, `upperdir=${path(upper.directory)}`]),
    `lowerdir=${lowers.map(path).join(":")}`,
    ...mount.features,
    ...(mount.volatile ? ["volatile"] : []),
    ...(mount.label === undefined ? [] : [contextOption(mount.label)]),
  ];
  return { type: "overlay", source: "overlay", options };
}

/**
 * Refuses a mount whose options do not fit into one call of `mount(2)`.
 *
 * @throws {VeneerError} `limit exceeded` if the options are longer than a page
 */
export function checkLength(id: string, { options }: Mount): void {
  const length = byteLength(options.join(","));
  if (length > MOUNT_DATA_MAX) throw tooLong(id, length);
}

/**
 * Refuses a layer that could not be mounted because it has too many layers below it.
 *
 * @param join the remedy for too many layers
 * @throws {VeneerError} `limit exceeded` with the limit and the remedy
 */
export function checkDepth(mount: OverlayMount, api: "new" | "old", join: Remedy): void {
  const { id, lowers, label } = mount;
  const limit = api === "new" ? MAX_LOWERS : MAX_LOWERS_OLD;
  if (lowers.length > limit) {
    const newer = api === "old" ? "; run Linux 6.7 or later, which takes 500" : "";
    throw new VeneerError(
      "limit exceeded",
      `layer ${id} would lie on ${lowers.length} layers, and ${limit} is the most that can be mounted` +
        newer,
      { remedy: join },
    );
  }
  if (api === "new") return;
  const room = Math.max(
    LABEL_ROOM,
    label === undefined ? 0 : byteLength(`,${contextOption(label)}`),
  );
  const length = byteLength(data({ ...mount, label: undefined }, "")) + room;
  if (length > MOUNT_DATA_MAX) {
    throw new VeneerError(
      "limit exceeded",
      `layer ${id} on ${lowers.length} layers needs ${length} bytes of mount options, and ${MOUNT_DATA_MAX} ` +
        "is the most that mount(2) takes; use a shorter id",
      { remedy: join },
    );
  }
}

/** The option string of `mount(2)`, in Docker's order, with `prefix` before every path. */
function data(mount: OverlayMount, prefix: string): string {
  const { lowers, upper } = mount;
  return [
    ...mount.features,
    `lowerdir=${lowers.map((path) => prefix + path).join(":")}`,
    ...(upper === undefined
      ? []
      : [`upperdir=${prefix}${upper.directory}`, `workdir=${prefix}${upper.work}`]),
    ...(mount.volatile ? ["volatile"] : []),
    ...(mount.label === undefined ? [] : [contextOption(mount.label)]),
  ].join(",");
}

/** An option as a parameter: `index=off` with a value, `userxattr` as a flag. */
function option(text: string): MountParameter {
  const at = text.indexOf("=");
  return at < 0 ? { key: text } : { key: text.slice(0, at), value: text.slice(at + 1) };
}

/** Whether a path needs no escapes in overlay's options. */
const isPlain = (path: string) => !/[,:\\]/.test(path);

/**
 * Escapes characters that would end a path by a `\` (`ovl_unescape` in `fs/overlayfs/params.c`).
 */
const escape = (path: string) => path.replaceAll(/[,:\\]/g, "\\$&");

const byteLength = (text: string) => encode(text).length;

const labelTooLong = (id: string, label: string, room: number) =>
  new VeneerError(
    "limit exceeded",
    `layer ${id}: the mount label has ${byteLength(label)} bytes, and there is room for ${room}; ` +
      "use a shorter label",
  );

const tooLong = (id: string, length: number) =>
  new VeneerError(
    "limit exceeded",
    `layer ${id}: its mount options have ${length} bytes, and mount(2) takes ${MOUNT_DATA_MAX}; ` +
      "use fewer layers, or let Veneer mount it",
    { remedy: { kind: "mount", id } },
  );
