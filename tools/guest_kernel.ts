/**
 * A newer kernel for guests than this distribution's: Debian 13's user-mode Linux, which starts programs and takes page
 * faults in a third of the time of Debian 12's.
 *
 * It wants a newer C library, which is unpacked beside it and named in the program. What runs in the guest is this
 * machine's all the same.
 *
 * @module
 */
import { existsSync } from "@std/fs";
import { join } from "@std/path";
import $ from "dax";
import { unpack } from "./packages.ts";

/** Where it is kept: outside the work tree, for all clones. */
const DIRECTORY = "/var/cache/veneer/guest/trixie";
const PACKAGES = ["user-mode-linux", "libc6"];
/** Below the directory; of x86-64, which is what user-mode Linux is for. */
const KERNEL = "usr/bin/linux.uml";
const LIBRARIES = "usr/lib/x86_64-linux-gnu";

/** The arguments of `tools/uml` that choose it; none, for Debian 12's kernel, if it was not fetched. */
export const newerKernel = (): string[] => existsSync(DIRECTORY) ? ["-k", DIRECTORY] : [];

/**
 * Fetches it, if it is not there.
 *
 * @throws {Error} apt, dpkg-deb or patchelf failed
 */
export async function fetchKernel(): Promise<void> {
  const libraries = join(DIRECTORY, LIBRARIES), loader = join(libraries, "ld-linux-x86-64.so.2");
  await unpack(DIRECTORY, "trixie", PACKAGES, async (root) => {
    const kernel = join(root, KERNEL);
    await $`patchelf --set-interpreter ${loader} --set-rpath ${libraries} ${kernel}`;
  });
}
