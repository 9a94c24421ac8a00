/**
 * Debian's packages of other suites than this machine's, unpacked below a directory of their own, and nothing installed.
 *
 * apt checks the signatures, with a configuration and lists of its own below the directory, and against the archive
 * that this machine uses.
 *
 * @module
 */
import { existsSync } from "@std/fs";
import { basename, dirname, join } from "@std/path";
import $ from "dax";

const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";

/** The archive that this machine's own packages come from. */
async function archive(): Promise<string> {
  const uris =
    await $`apt-get indextargets --format ${"$(REPO_URI)"} ${"Created-By: Packages"} ${"Origin: Debian"}`
      .lines();
  const uri = uris.find((line) => line.trim() !== "");
  if (uri === undefined) throw new Error("apt knows no archive of Debian's here");
  return uri.trim();
}

/** Options by which apt works below a directory, with a suite's lists and none of this machine's. */
async function aptOptions(directory: string, suite: string): Promise<string[]> {
  const path = (name: string) => join(directory, name);
  for (const name of ["state/lists/partial", "cache/archives/partial"]) {
    await Deno.mkdir(path(name), { recursive: true });
  }
  await Deno.writeTextFile(path("status"), "");
  await Deno.writeTextFile(
    path("sources.list"),
    `deb [signed-by=${KEYRING}] ${await archive()} ${suite} main\n`,
  );
  return [
    `Dir::State=${path("state")}`,
    `Dir::State::status=${path("status")}`,
    `Dir::Cache=${path("cache")}`,
    `Dir::Etc::sourcelist=${path("sources.list")}`,
    "Dir::Etc::sourceparts=-",
    "APT::Sandbox::User=root", // the directory is root's alone
  ].flatMap((option) => ["-o", option]);
}

/**
 * Fetches and unpacks packages of a suite below `target`, which is left as it is if it is there. It appears last and
 * whole, so that a killed run leaves nothing that looks complete.
 *
 * @param finish works on the unpacked files before they appear
 * @throws {Error} apt or dpkg-deb failed
 */
export async function unpack(
  target: string,
  suite: string,
  packages: readonly string[],
  finish: (root: string) => Promise<void> = () => Promise.resolve(),
): Promise<void> {
  if (existsSync(target)) return;
  console.error(`setup: fetching ${packages.join(", ")} of ${suite}`);
  await Deno.mkdir(dirname(target), { recursive: true, mode: 0o755 });
  const work = await Deno.makeTempDir({ dir: dirname(target), prefix: `${basename(target)}.` });
  try {
    const options = await aptOptions(work, suite);
    await $`apt-get ${options} update -qq`.quiet();
    await $`apt-get ${options} download -qq ${packages}`.cwd(work).quiet();
    const root = join(work, "root");
    for await (const { name } of Deno.readDir(work)) {
      if (name.endsWith(".deb")) await $`dpkg-deb --extract ${join(work, name)} ${root}`;
    }
    await finish(root);
    await Deno.rename(root, target);
  } finally {
    await Deno.remove(work, { recursive: true });
  }
}
