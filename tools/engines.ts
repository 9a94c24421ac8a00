/**
 * Fetches newer engines than this distribution's, for `make test-engines`: containerd and dockerd of Debian's newer
 * suites, a registry, and mount(8), each unpacked below a directory of its own, and nothing installed.
 *
 *     tools/engines.ts DIRECTORY
 *
 * What is there already is left as it is: remove its directory to fetch it anew. The engines are Go's and want no newer
 * C library than Debian 12 has, and mount(8) comes with its own; runc stays this machine's.
 */
import { join } from "@std/path";
import { unpack } from "./packages.ts";

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

if (import.meta.main) {
  const [directory] = Deno.args;
  for (const [name, [suite, packages]] of Object.entries(FETCHED)) {
    await unpack(join(directory, name), suite, packages);
  }
}
