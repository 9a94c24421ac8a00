/**
 * Fetches newer engines than this distribution's, for `make test-engines`: containerd and dockerd of Debian's newer
 * suites, a registry, and mount(8), each unpacked below a directory of its own, and nothing installed.
 *
 *     tools/engines.ts DIRECTORY
 *
 * What is there already is left as it is: remove its directory to fetch it anew. apt checks the signatures, with a
 * configuration and lists of its own below the directory, and against the archive that this machine uses. The
 * engines are Go's and want no newer C library than Debian 12 has, and mount(8) comes with its own; runc stays this
 * machine's.
 */
import { existsSync } from "@std/fs";
import { join } from "@std/path";
import $ from "dax";

const ENGINES = ["containerd", "docker.io", "docker-cli", "docker-buildx"];

/** mount(8), and what it is linked with. */
const MOUNT = ["mount", "libmount1", "libblkid1", "libselinux1", "libpcre2-8-0", "libc6"];

/** What is fetched, by the directory that it goes to: the suite, and the packages that bring it. */
const FETCHED: Readonly<Record<string, readonly [suite: string, packages: readonly string[]]>> = {
  "bookworm": ["bookworm", ["docker-registry"]],
  "trixie": ["trixie", ENGINES],
  "sid": ["sid", ENGINES],
  "trixie-mount": ["trixie", MOUNT],
  "sid-mount": ["sid", MOUNT],
};

const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";

/** The archive that this machine's own packages come from. */
async function archive(): Promise<string> {
  const uris =
    await $`apt-get indextargets --format ${"$(REPO_URI)"} ${"Created-By: Packages"} ${"Origin: Debian"}`
      .lines();
  const uri = uris.find((line) => line.trim() !== "");
  if (uri === undefined) throw new Error("engines: apt knows no archive of Debian's here");
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

/** Fetches and unpacks packages, and renames the whole into its place last. */
async function fetchInto(directory: string, name: string): Promise<void> {
  const target = join(directory, name), [suite, packages] = FETCHED[name];
  if (existsSync(target)) return;
  console.error(`engines: fetching ${packages.join(", ")} of ${suite}`);
  const work = await Deno.makeTempDir({ dir: directory, prefix: `${name}.` });
  try {
    const options = await aptOptions(work, suite);
    await $`apt-get ${options} update -qq`.quiet();
    await $`apt-get ${options} download -qq ${packages}`.cwd(work).quiet();
    const root = join(work, "root");
    for await (const { name } of Deno.readDir(work)) {
      if (name.endsWith(".deb")) await $`dpkg-deb --extract ${join(work, name)} ${root}`;
    }
    await Deno.rename(root, target);
  } finally {
    await Deno.remove(work, { recursive: true });
  }
}

if (import.meta.main) {
  const [directory] = Deno.args;
  await Deno.mkdir(directory, { recursive: true, mode: 0o755 });
  for (const name of Object.keys(FETCHED)) await fetchInto(directory, name);
}
