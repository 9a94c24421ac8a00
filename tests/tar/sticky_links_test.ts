/**
 * Links in directories like /tmp, which some kernels protect (`fs.protected_symlinks`, in the guest): a tar's own are
 * followed within the layer all the same.
 *
 * @module
 */
// @runs on ext4, guest ext4
import { assertEquals } from "@std/assert";
import { dir, file, hardlink, symlink, tar } from "./support/tar_builder.ts";
import { Sandbox } from "./support/tar_layers.ts";

const STICKY = dir("tmp", { mode: 0o1777, uid: 7 });

Deno.test("paths and hard links lead over somebody else's link in a sticky directory", () => {
  for (const form of ["overlay", "none"] as const) {
    using sandbox = new Sandbox();
    const parent = [dir("a"), file("a/f", "f"), STICKY, symlink("../a", "tmp/s", { uid: 8 })];
    const child = [file("tmp/s/g", "g"), hardlink("tmp/s/f", "h")];
    if (form === "none") sandbox.apply(tar(...parent));
    else sandbox.putBelow(tar(...parent), { whiteouts: form });
    sandbox.apply(tar(...child), { whiteouts: form });
    const left = ["tmp dir 1777 7:0", "tmp/s link 8:0 -> ../a"];
    assertEquals(sandbox.tree(), [
      ...["a dir 755 0:0", 'a/f file 644 0:0 "f"', 'a/g file 644 0:0 "g"', 'h file 644 0:0 "f"'],
      // An upper directory has the link's directory alone.
      ...left.slice(0, form === "none" ? 2 : 1),
    ]);
  }
});

Deno.test("a directory that became somebody else's link in a sticky directory keeps no time", () => {
  using sandbox = new Sandbox();
  sandbox.apply(
    tar(
      STICKY,
      dir("tmp/d", { mtime: 5 }),
      file("tmp/d/f", ""),
      symlink("..", "tmp/d", { uid: 8 }),
    ),
  );
  assertEquals(sandbox.tree(), ["tmp dir 1777 7:0", "tmp/d link 8:0 -> .."]);
});
