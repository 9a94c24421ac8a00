/**
 * What the cases of exported tars share: exporting to files and to memory, reading tars by an independent
 * reader, and a tree with everything in it.
 */
import { assertEquals } from "@std/assert";
import { encode } from "../../../ffi/cstring.ts";
import { entryName } from "../../../ffi/entry_name.ts";
import {
  close,
  ftruncate,
  memfd,
  O_CREAT,
  O_DIRECTORY,
  O_RDONLY,
  O_RDWR,
  open,
  pread,
  withFd,
} from "../../../ffi/files.ts";
import { fstat } from "../../../ffi/stat.ts";
import { S_IFBLK, S_IFCHR, S_IFIFO, symlinkat } from "../../../ffi/names.ts";
import { tryLsetxattr } from "../../../ffi/xattr.ts";
import type { Change } from "../../../lib/tree/changes.ts";
import { IDENTITY } from "../../../lib/base/id_maps.ts";
import { applyTar } from "../../../lib/tar/apply/apply.ts";
import { exportChanges, type ExportOptions, exportTree } from "../../../lib/tar/export/export.ts";
import type { WhiteoutForm } from "../../../lib/tree/whiteouts.ts";
import { must } from "../../support/cases.ts";
import { chown, makeNode, OLD, put, setTime, withDirectories } from "../../support/tree_entries.ts";

export const DEFAULTS: ExportOptions = {
  idMaps: IDENTITY,
  warn: (message) => {
    throw new Error(`unexpected warning: ${message}`);
  },
};

/** Exports a directory to a file. */
export function exportTo(
  file: string,
  directory: string,
  form: WhiteoutForm = "none",
  options: Partial<ExportOptions> = {},
): number {
  return withFd(open(file, O_RDWR | O_CREAT, 0o600), (out) => {
    ftruncate(out, 0n);
    return withDirectories(
      [directory],
      (fd) => exportTree(fd, out, form, { ...DEFAULTS, ...options }),
    );
  });
}

/** The tar that `write` makes, as bytes. */
export function tarOf(write: (out: number) => number): Uint8Array<ArrayBuffer> {
  return withFd(memfd("tar"), (out) => {
    const length = write(out);
    assertEquals(fstat(out).size, length);
    const bytes = new Uint8Array(length);
    assertEquals(pread(out, bytes, length, 0n), length);
    return bytes;
  });
}

export const treeTar = (root: string, form: WhiteoutForm, options: Partial<ExportOptions> = {}) =>
  tarOf((out) =>
    withDirectories([root], (fd) => exportTree(fd, out, form, { ...DEFAULTS, ...options }))
  );

export const changesTar = (
  root: string,
  changes: Iterable<Change>,
  options: Partial<ExportOptions> = {},
) =>
  tarOf((out) =>
    withDirectories([root], (fd) => exportChanges(fd, changes, out, { ...DEFAULTS, ...options }))
  );

/** A tar's entries, by an independent reader: `name type mode uid:gid size mtime [linkname]`. */
export function listed(tar: Uint8Array<ArrayBuffer>, path: string): string[] {
  Deno.writeFileSync(path, tar);
  const script = `
import sys, tarfile
for e in tarfile.open(sys.argv[1], "r:"):
    sys.stdout.write("%s %s %o %d:%d %d%s\\n" % (e.name + ("/" if e.isdir() else ""),
        e.type.decode(), e.mode, e.uid, e.gid, e.size, " -> " + e.linkname if e.linkname else ""))`;
  return must("python3", "-c", script, path).trimEnd().split("\n").filter((line) => line !== "");
}

/** Names alone. */
export const names = (tar: Uint8Array<ArrayBuffer>, path: string) =>
  listed(tar, path).map((line) => line.split(" ")[0]);

/** A tree with an entry of every type, and attributes of every kind. */
export function everything(root: string): void {
  Deno.mkdirSync(root, { recursive: true });
  Deno.mkdirSync(`${root}/dir/sub`, { recursive: true });
  Deno.mkdirSync(`${root}/sticky`);
  Deno.chmodSync(`${root}/sticky`, 0o1777);
  put(`${root}/dir/empty`);
  put(`${root}/dir/sub/file`, "content\n");
  put(`${root}/block`, "x".repeat(512));
  put(`${root}/small`, "y".repeat((128 << 10) - 1));
  put(`${root}/large`, "z".repeat(3_000_001));
  put(`${root}/setuid`, "#!", 0o6755);
  put(`${root}/owned`, "", 0o400);
  chown(`${root}/owned`, 1234, 3_000_000_000);
  Deno.symlinkSync("dir/sub/file", `${root}/link`);
  Deno.symlinkSync("t/".repeat(150), `${root}/longlink`);
  makeNode(`${root}/fifo`, S_IFIFO | 0o620);
  makeNode(`${root}/char`, S_IFCHR | 0o666, 1, 3);
  makeNode(`${root}/block-device`, S_IFBLK | 0o660, 259, 200_000);
  Deno.linkSync(`${root}/dir/sub/file`, `${root}/hardlink`);
  Deno.linkSync(`${root}/char`, `${root}/zchar`);
  tryLsetxattr(`${root}/setuid`, "user.comment", encode("two\nlines=\0and NUL"));
  tryLsetxattr(`${root}/setuid`, "user.a=b%3D", encode("odd name"));
  tryLsetxattr(`${root}/setuid`, "trusted.mine", encode(""));
  // struct vfs_cap_data of linux/capability.h, revision 2: cap_net_raw, effective.
  tryLsetxattr(
    `${root}/setuid`,
    "security.capability",
    Uint8Array.fromHex("0100000200200000000000000000000000000000"),
  );
  tryLsetxattr(`${root}/dir`, "user.large", new Uint8Array(3000).fill(7));
  put(`${root}/before`);
  setTime(`${root}/before`, -2, 500_000_000);
  put(`${root}/long-before`);
  setTime(`${root}/long-before`, -1_000_000_000, 0);
  put(`${root}/far`);
  setTime(`${root}/far`, 2 ** 33 - 1, 10);
  const fd = open(root, O_RDONLY | O_DIRECTORY);
  const odd = [
    encode("new\nline"),
    encode("日本語"),
    Uint8Array.of(0x66, 0xff, 0xfe),
    new Uint8Array(255).fill(0xe4),
    new Uint8Array(255).fill(0x61),
  ];
  for (const name of odd) symlinkat("odd", fd, entryName(name));
  close(fd);
  // Every way in which a path can and cannot be split for the header.
  for (const length of [98, 99, 100, 101, 154, 155, 156, 200]) {
    const below = `${root}/${"p".repeat(length)}`;
    Deno.mkdirSync(below);
    for (const last of [1, 54, 55, 56, 99, 100, 101]) put(`${below}/${"n".repeat(last)}`);
  }
  setTime(`${root}/link`);
  setTime(`${root}/dir`, OLD, 5);
  setTime(root, OLD, 999_999_999);
}

/** Applies a tar to a directory. */
export function apply(
  tar: string,
  to: string,
  whiteouts: WhiteoutForm,
  lowers: readonly string[] = [],
): void {
  withFd(open(tar, O_RDONLY), (input) => {
    withDirectories([to], (fd) => applyTar(input, fd, { whiteouts, lowers, idMaps: IDENTITY }));
  });
}
