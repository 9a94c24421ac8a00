/**
 * Entries with more attributes than the kernel lists, on a file system that keeps them.
 *
 * @module
 */
import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { O_DIRECTORY, O_RDONLY, open, withFd } from "../../ffi/files.ts";
import { SyscallError } from "../../ffi/errno.ts";
import { flistxattr, fsetxattr, lsetxattr } from "../../ffi/xattr.ts";
import { isOverlayOpaque } from "../../lib/tree/branch.ts";
import { compareTrees } from "../../lib/tree/compare.ts";
import { IDENTITY } from "../../lib/base/id_maps.ts";
import { applyTar } from "../../lib/tar/apply/apply.ts";
import { mountImage } from "../runner/images.ts";
import { lacksFileSystem, lacksProgram, must, needs, tempDir } from "../support/cases.ts";
import { dir, tar } from "../tar/support/tar_builder.ts";
import { treeTar } from "../tar/support/exports.ts";

/** A capability of version 2 (`linux/capability.h`): `cap_net_raw` in effect. */
const CAPABILITY = Uint8Array.of(1, 0, 0, 2, 0, 32, 0, 0, ...new Uint8Array(12));
/** Names of 26 bytes with their NUL, and 64 KiB are 65,536. */
const COUNT = 3000;

function giveMany(path: string): void {
  withFd(open(path, O_RDONLY), (fd) => {
    for (let i = 0; i < COUNT; i++) {
      fsetxattr(fd, `user.${`${i}`.padStart(20, "0")}`, Uint8Array.of(1));
    }
  });
}

needs(
  lacksFileSystem("btrfs") ?? lacksProgram("mkfs.btrfs"),
  "attributes that the kernel does not list: a layer with them is exported, compared and applied to",
  () => {
    using temporary = tempDir();
    using image = mountImage("btrfs", temporary.path, 2 ** 30);
    const layer = `${image.mountPoint}/layer`;
    Deno.mkdirSync(`${layer}/d`, { recursive: true });
    for (const name of ["f", "g"]) Deno.writeTextFileSync(`${layer}/${name}`, name);
    for (const name of ["d", "f"]) giveMany(`${layer}/${name}`);
    lsetxattr(`${layer}/f`, "security.capability", CAPABILITY);
    lsetxattr(`${layer}/g`, "user.kept", Uint8Array.of(0x6b));

    withFd(open(`${layer}/d`, O_RDONLY | O_DIRECTORY), (fd) => {
      const error = assertThrows(() => flistxattr(fd), SyscallError);
      assertEquals(error.message, "flistxattr: list or value too long (E2BIG)");
    });

    const warnings: string[] = [];
    const warn = (message: string) => warnings.push(message);
    const exported = new TextDecoder("latin1").decode(treeTar(layer, "overlay", { warn }));
    assertEquals(warnings.map((line) => line.split(" ")[0]), ["/d/", "/f"]);
    assertStringIncludes(warnings[0], "more than 64 KiB of names of extended attributes");
    assertStringIncludes(exported, "SCHILY.xattr.user.kept=k");
    assertStringIncludes(exported, "SCHILY.xattr.security.capability=");
    assertEquals(exported.includes("SCHILY.xattr.user.0"), false);

    // A copy whose times are its own, and one entry of which may differ in what nothing lists.
    const copy = `${image.mountPoint}/copy`;
    must("cp", "-a", "--no-preserve=xattr", layer, copy);
    giveMany(`${copy}/f`);
    lsetxattr(`${copy}/f`, "security.capability", CAPABILITY);
    const changed = withFd(
      open(layer, O_RDONLY | O_DIRECTORY),
      (parent) =>
        withFd(
          open(copy, O_RDONLY | O_DIRECTORY),
          (child) => [...compareTrees(parent, child)].map(({ path }) => path),
        ),
    );
    assertEquals(changed.includes("/f"), true, `${changed}`);

    warnings.length = 0;
    withFd(open(layer, O_RDONLY | O_DIRECTORY), (directory) => {
      const file = `${temporary.path}/tar`;
      Deno.writeFileSync(file, tar(dir("d", { mode: 0o700 })));
      withFd(open(file, O_RDONLY), (input) => {
        applyTar(input, directory, { whiteouts: "none", idMaps: IDENTITY, warn });
      });
    });
    assertEquals(Deno.statSync(`${layer}/d`).mode! & 0o777, 0o700);
    assertEquals(warnings.length, 1);
    assertStringIncludes(warnings[0], '"d" has more than 64 KiB of names');

    // No list is no way past what is refused, nor past the mark of an opaque directory.
    withFd(open(`${layer}/d`, O_RDONLY | O_DIRECTORY), (fd) => {
      assertEquals(isOverlayOpaque(fd), false);
      fsetxattr(fd, "trusted.overlay.opaque", Uint8Array.of(0x79));
      assertEquals(isOverlayOpaque(fd), true);
      fsetxattr(fd, "trusted.overlay.redirect", Uint8Array.of(0x78));
      assertThrows(() => isOverlayOpaque(fd), Error, "trusted.overlay.redirect");
    });
  },
);
