/**
 * Attributes that hold ids, and XFS's second form of access control lists, on their way in and out.
 *
 * @module
 */
import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { memfd, O_DIRECTORY, O_RDONLY, open, withFd } from "../../ffi/files.ts";
import { lgetxattr, llistxattr, lsetxattr } from "../../ffi/xattr.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import { IDENTITY, IdMap, type IdMaps } from "../../lib/base/id_maps.ts";
import { exportTree } from "../../lib/tar/export/export.ts";
import { TarReader } from "../../lib/tar/read/reader.ts";
import { DescriptorWindow } from "../../lib/tar/read/descriptor_window.ts";
import { dir, file, pax, tar } from "./support/tar_builder.ts";
import { Sandbox } from "./support/tar_layers.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const map = new IdMap([{ container: 0, host: 1000, size: 1 }, {
  container: 1,
  host: 100_000,
  size: 65_535,
}]);
const MAPPED: IdMaps = { uids: map, gids: map };
const ACCESS = "system.posix_acl_access",
  DEFAULT = "system.posix_acl_default",
  CAPABILITY = "security.capability";

/** An access control list that names a user and a group. */
function acl(user: number, group: number): Bytes {
  const entries = [[1, 7, -1], [2, 5, user], [4, 5, -1], [8, 4, group], [16, 5, -1], [32, 5, -1]];
  const view = new DataView(new ArrayBuffer(4 + 8 * entries.length));
  view.setUint32(0, 2, true);
  entries.forEach(([tag, permissions, id], i) => {
    view.setUint16(4 + 8 * i, tag, true);
    view.setUint16(6 + 8 * i, permissions, true);
    view.setInt32(8 + 8 * i, id, true);
  });
  return new Uint8Array(view.buffer);
}

/** `CAP_NET_BIND_SERVICE`, of version 2 or, with a root, of version 3. */
function capability(root?: number): Bytes {
  const words = root === undefined
    ? [0x02000001, 1 << 10, 0, 0, 0]
    : [0x03000001, 1 << 10, 0, 0, 0, root];
  return new Uint8Array(Uint32Array.from(words).buffer);
}

/** The attributes of a layer's one file, as a tar of it has them. */
function exported(root: string, idMaps: IdMaps): Record<string, Bytes> {
  return withFd(
    open(root, O_RDONLY | O_DIRECTORY),
    (directory) =>
      withFd(memfd("tar"), (output) => {
        exportTree(directory, output, "none", { idMaps, workers: 0, warn: () => {} });
        const reader = new TarReader(new DescriptorWindow(output, 0));
        assertEquals(reader.next(), true);
        return Object.fromEntries(reader.entry.xattrs);
      }),
  );
}

const xattr = (name: string, value: Bytes) => pax({ [`SCHILY.xattr.${name}`]: value });

Deno.test("xattrs: ids in access lists are mapped on the way in and back on the way out", () => {
  using sandbox = new Sandbox();
  sandbox.apply(tar(xattr(ACCESS, acl(1000, 0)), file("f")), { idMaps: MAPPED });
  assertEquals(lgetxattr(`${sandbox.root}/f`, ACCESS), acl(100_999, 1000));
  assertEquals(exported(sandbox.root, MAPPED), { [ACCESS]: acl(1000, 0) });
});

Deno.test("xattrs: default lists are mapped like the others", () => {
  using sandbox = new Sandbox();
  sandbox.apply(tar(xattr(DEFAULT, acl(5, 6)), dir("d")), { idMaps: MAPPED });
  assertEquals(lgetxattr(`${sandbox.root}/d`, DEFAULT), acl(100_004, 100_005));
});

Deno.test("xattrs: an id in a list that the map does not hold is refused, naming the entry", () => {
  using sandbox = new Sandbox();
  const line = sandbox.refuse(tar(xattr(ACCESS, acl(70_000, 0)), file("f")), { idMaps: MAPPED });
  assertStringIncludes(
    line,
    'entry "f" at byte 0: its user id 70000 is not in the store\'s id map',
  );
  sandbox.apply(tar(xattr(ACCESS, acl(70_000, 0)), file("f", "", { uid: 0 })));
  Deno.chownSync(`${sandbox.root}/f`, 1000, 1000);
  const error = assertThrows(() => exported(sandbox.root, MAPPED), VeneerError);
  assertStringIncludes(
    error.message,
    "/f: its access list or capability names the user id 70000 of the host",
  );
});

Deno.test("xattrs: a capability that the container's root set leaves as one that is bound to no root", () => {
  for (const [idMaps, root] of [[MAPPED, 1000], [IDENTITY, 0]] as const) {
    using sandbox = new Sandbox();
    sandbox.apply(tar(file("f")), { idMaps });
    lsetxattr(`${sandbox.root}/f`, CAPABILITY, capability(root));
    assertEquals(exported(sandbox.root, idMaps), { [CAPABILITY]: capability() });
  }
});

Deno.test("xattrs: a capability of another root keeps it", () => {
  using sandbox = new Sandbox();
  sandbox.apply(tar(xattr(CAPABILITY, capability(7)), file("f")), { idMaps: MAPPED });
  assertEquals(exported(sandbox.root, MAPPED), { [CAPABILITY]: capability(7) });
});

Deno.test("xattrs: XFS's own form of a list is neither applied nor exported", () => {
  using sandbox = new Sandbox();
  const twin = "trusted.SGI_ACL_FILE";
  sandbox.apply(tar(xattr(twin, acl(1, 2)), file("f")));
  assertEquals(llistxattr(`${sandbox.root}/f`), []);
  lsetxattr(`${sandbox.root}/f`, ACCESS, acl(1, 2));
  // XFS has the twin by now, and takes it in its own form only.
  if (!llistxattr(`${sandbox.root}/f`).includes(twin)) {
    lsetxattr(`${sandbox.root}/f`, twin, acl(1, 2));
  }
  assertEquals(exported(sandbox.root, IDENTITY), { [ACCESS]: acl(1, 2) });
});

Deno.test("xattrs: of a name that comes more than once the last value counts", () => {
  using sandbox = new Sandbox();
  const values = ["1", "2", "3"].map((value) => xattr("user.a", new TextEncoder().encode(value)));
  sandbox.apply(tar(...values, xattr("user.b", new Uint8Array()), file("f")));
  assertEquals(lgetxattr(`${sandbox.root}/f`, "user.a"), new TextEncoder().encode("3"));
  assertEquals(lgetxattr(`${sandbox.root}/f`, "user.b"), new Uint8Array());
});
