/**
 * Runs the benches: each on loopback images of the file systems it is for, in a process of its own.
 *
 *     bench/main.ts [overlay2|btrfs|devicemapper|snapshots|services|services_containerd|import|docker|migrate]… [ext4|xfs|btrfs]…      # all, where none is named
 *
 * @module
 */
import { type ImageKind, mountImage } from "../tests/runner/images.ts";
import { openWorkspace } from "../tests/runner/workspace.ts";

/** Each bench and its file systems. */
const BENCHES: Readonly<Record<string, readonly ImageKind[]>> = {
  overlay2: ["ext4", "xfs"],
  btrfs: ["btrfs"],
  // In the memory of a guest, where this machine's kernel has no device-mapper.
  devicemapper: ["ext4"],
  snapshots: ["btrfs", "ext4"],
  services: ["ext4"],
  services_containerd: ["ext4"],
  import: ["ext4"],
  images: ["ext4"],
  docker: ["btrfs", "ext4"],
  migrate: ["ext4"],
};

/** The sizes of images in bytes, where the usual one is too small: btrfs frees removed layers late. */
const SIZES: Readonly<Record<string, number>> = {
  docker: 32 * 2 ** 30,
  import: 16 * 2 ** 30,
  images: 16 * 2 ** 30,
};

const chosen = (name: string, among: readonly string[]) =>
  Deno.args.includes(name) || !among.some((other) => Deno.args.includes(other));

using workspace = openWorkspace("veneer-bench.");
for (const [name, kinds] of Object.entries(BENCHES)) {
  if (!chosen(name, Object.keys(BENCHES))) continue;
  for (const kind of kinds) {
    if (!chosen(kind, Object.values(BENCHES).flat())) continue;
    using image = mountImage(kind, workspace.directory, SIZES[name]);
    new Deno.Command(Deno.execPath(), {
      args: ["run", "--allow-all", "--quiet", new URL(`./${name}.ts`, import.meta.url).pathname],
      env: { VENEER_TEST_DIR: image.mountPoint, VENEER_TEST_FS: kind },
      stdout: "inherit",
      stderr: "inherit",
    }).outputSync();
  }
}
