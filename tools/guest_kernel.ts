/**
 * A newer kernel for guests than this distribution's. Since Linux 6.16, user-mode Linux runs its processes by seccomp
 * instead of ptrace: a program starts in an eighth of the time of Debian 12's kernel, and tests take half of it.
 *
 * It is that of Debian's unstable suite, and changes from one machine's setup to another's: one that does not boot here
 * gives way to Debian 13's.
 *
 * It wants a newer C library, which is unpacked beside it and named in the program. The programs in the guest are this
 * machine's all the same.
 *
 * @module
 */
import { existsSync } from "@std/fs";
import { dirname, join } from "@std/path";
import $ from "dax";
import { unpack } from "./packages.ts";

/** Where they are kept: outside the work tree, for all clones. */
const DIRECTORY = "/var/cache/veneer/guest";
/** Suites that have one, the fastest kernel first. */
const SUITES = ["sid", "trixie"];
const UML = join(dirname(import.meta.dirname!), "tools/uml");
const PACKAGES = ["user-mode-linux", "libc6"];
/** Below the directory; of x86-64, which is what user-mode Linux is for. */
const KERNEL = "usr/bin/linux.uml";
const LIBRARIES = "usr/lib/x86_64-linux-gnu";

/** The fastest that is kept here. */
const kept = (): string | undefined =>
  SUITES.map((suite) => join(DIRECTORY, suite)).find((directory) => existsSync(directory));

/** The arguments of `tools/uml` that choose it; none, for Debian 12's kernel, if it was not fetched. */
export function newerKernel(): string[] {
  const directory = kept();
  return directory === undefined ? [] : ["-k", directory];
}

/** Fetches a suite's kernel, if it is not there. */
async function fetchFrom(suite: string): Promise<void> {
  const target = join(DIRECTORY, suite);
  const libraries = join(target, LIBRARIES), loader = join(libraries, "ld-linux-x86-64.so.2");
  await unpack(target, suite, PACKAGES, async (root) => {
    const kernel = join(root, KERNEL);
    await $`patchelf --set-interpreter ${loader} --set-rpath ${libraries} ${kernel}`;
  });
}

/** Whether a suite's kernel runs a program here. */
async function boots(suite: string): Promise<boolean> {
  const { code } = await $`${UML} -k ${join(DIRECTORY, suite)} -t 60 true`.noThrow().quiet();
  return code === 0;
}

/**
 * Fetches the first suite's kernel that boots here, if none is there.
 *
 * @throws {Error} apt, dpkg-deb or patchelf failed, or none boots
 */
export async function fetchKernel(): Promise<void> {
  const failures: string[] = [];
  for (const suite of SUITES) {
    const target = join(DIRECTORY, suite);
    if (existsSync(target)) return;
    try {
      await fetchFrom(suite);
      if (await boots(suite)) return;
      failures.push(`${suite}: it does not boot here`);
      await Deno.remove(target, { recursive: true });
    } catch (error) {
      failures.push(`${suite}: ${error instanceof Error ? error.message : error}`);
    }
  }
  throw new Error(failures.join("\n"));
}
