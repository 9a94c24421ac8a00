/**
 * Access control lists as attributes and as GNU tar writes them.
 */

/** A list in which one user has permissions of its own, beside what a mode says. */
function of(mode: number, permissions: number): Uint8Array {
  const bytes = new Uint8Array(4 + 5 * 8), view = new DataView(bytes.buffer);
  view.setUint32(0, 2, true); // POSIX_ACL_XATTR_VERSION
  const entries = [
    [0x01, mode >> 6 & 7, 0xffffffff],
    [0x02, permissions, 1234],
    [0x04, mode >> 3 & 7, 0xffffffff],
    [0x10, mode >> 3 & 7, 0xffffffff],
    [0x20, mode & 7, 0xffffffff],
  ];
  for (const [i, [tag, allowed, id]] of entries.entries()) {
    view.setUint16(4 + 8 * i, tag, true);
    view.setUint16(6 + 8 * i, allowed, true);
    view.setUint32(8 + 8 * i, id, true);
  }
  return bytes;
}

export const acl = {
  access: "system.posix_acl_access",
  default: "system.posix_acl_default",
  of,
};

/** The same as text: GNU tar takes lists in this form alone. */
export function aclText(list: Uint8Array): string {
  const view = new DataView(list.buffer, list.byteOffset);
  const names = ["user:", "user:1234", "group:", "mask:", "other:"];
  return names.map((name, i) => {
    const allowed = view.getUint16(6 + 8 * i, true);
    const text = [4, 2, 1].map((bit, j) => (allowed & bit) === 0 ? "-" : "rwx"[j]).join("");
    return `${name}:${text}`;
  }).join(",");
}
