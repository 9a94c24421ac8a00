/**
 * Extended attributes between a layer, which has the host's ids, and a tar, which has the
 * container's.
 *
 * Two kinds hold ids: access control lists, and capabilities of version 3, which count in the user
 * namespace of one root only (capabilities(7)).
 *
 * Sources: `linux/posix_acl_xattr.h`, `linux/capability.h`.
 *
 * @module
 */
import type { IdMaps } from "../base/id_maps.ts";
import { ACL_ACCESS, ACL_DEFAULT, CAPABILITY } from "../tree/xattr_names.ts";

// `struct posix_acl_xattr_header` (a version) and, for each entry, a tag, permissions and an id.
const ACL_HEADER = 4, ACL_ENTRY = 8, ACL_TAG = 0, ACL_ID = 4;
const ACL_USER = 0x02, ACL_GROUP = 0x08;

// `struct vfs_ns_cap_data`: a revision and flags, two pairs of sets, and in version 3 the root's
// id.
const VFS_CAP_REVISION_MASK = 0xff000000;
const VFS_CAP_REVISION_2 = 0x02000000, VFS_CAP_REVISION_3 = 0x03000000;
const CAPABILITY_2_SIZE = 20, CAPABILITY_3_SIZE = 24, ROOT_ID = 20;

/** An id for which a map has none. */
export class UnmappedId extends Error {
  constructor(readonly kind: "user" | "group", readonly id: number) {
    super(`its access list or capability names the ${kind} id ${id}`);
  }
}

type Bytes = Uint8Array<ArrayBuffer>;
type Map = (id: number) => number | undefined;

/**
 * An attribute's value of a tar as a layer has it.
 *
 * @throws {UnmappedId}
 */
export function toLayer(name: string, value: Bytes, { uids, gids }: IdMaps): Bytes {
  if (uids.isIdentity && gids.isIdentity) return value;
  return mapped(name, value, (id) => uids.toHost(id), (id) => gids.toHost(id));
}

/**
 * An attribute's value of a layer as a tar has it. A capability of the container's root is one of
 * version 2: that of whichever root has the file.
 *
 * @throws {UnmappedId}
 */
export function toTar(name: string, value: Bytes, { uids, gids }: IdMaps): Bytes {
  const isMapped = !(uids.isIdentity && gids.isIdentity);
  if (!isMapped && name !== CAPABILITY) return value;
  const plain = mapped(name, value, (id) => uids.toContainer(id), (id) => gids.toContainer(id));
  return name === CAPABILITY ? withoutRoot(plain) : plain;
}

function mapped(name: string, value: Bytes, users: Map, groups: Map): Bytes {
  if (name === CAPABILITY) return mappedCapability(value, users);
  if (name !== ACL_ACCESS && name !== ACL_DEFAULT) return value;
  // The kernel refuses malformed ones.
  const copy = value.slice();
  const view = new DataView(copy.buffer);
  for (let at = ACL_HEADER; at + ACL_ENTRY <= copy.length; at += ACL_ENTRY) {
    const tag = view.getUint16(at + ACL_TAG, true);
    if (tag === ACL_USER) setId(view, at + ACL_ID, "user", users);
    else if (tag === ACL_GROUP) setId(view, at + ACL_ID, "group", groups);
  }
  return copy;
}

function mappedCapability(value: Bytes, users: Map): Bytes {
  if (!isVersion3(value)) return value;
  const copy = value.slice();
  setId(new DataView(copy.buffer), ROOT_ID, "user", users);
  return copy;
}

function setId(view: DataView, at: number, kind: "user" | "group", map: Map): void {
  const id = view.getUint32(at, true);
  const other = map(id);
  if (other === undefined) throw new UnmappedId(kind, id);
  view.setUint32(at, other, true);
}

function isVersion3(value: Bytes): boolean {
  return value.length === CAPABILITY_3_SIZE &&
    (revision(value) & VFS_CAP_REVISION_MASK) === (VFS_CAP_REVISION_3 | 0);
}

const revision = (value: Bytes) => new DataView(value.buffer, value.byteOffset).getUint32(0, true);

/** A capability of version 3 whose root is 0 as one of version 2; any other unchanged. */
function withoutRoot(value: Bytes): Bytes {
  if (!isVersion3(value)) return value;
  if (new DataView(value.buffer, value.byteOffset).getUint32(ROOT_ID, true) !== 0) return value;
  const plain = value.slice(0, CAPABILITY_2_SIZE);
  const flags = revision(value) & ~VFS_CAP_REVISION_MASK;
  new DataView(plain.buffer).setUint32(0, flags | VFS_CAP_REVISION_2, true);
  return plain;
}
