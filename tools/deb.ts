/**
 * Makes a Debian package of what `make install` puts in place.
 *
 *     tools/deb.ts [DIRECTORY]    # veneer_VERSION_ARCHITECTURE.deb there, in dist/ by default
 *
 * The binary must be there already. It goes into the package as it is: stripping takes the program out of it, since the
 * runtime finds the program behind its own sections. Services are in the package, and none starts by itself.
 *
 * @module
 */
import { dirname, join, resolve } from "@std/path";
import $ from "dax";
import { VERSION } from "../lib/cli/version.ts";

const TOP = dirname(import.meta.dirname!);
const ARCHITECTURES: Readonly<Record<string, string>> = { "x86_64": "amd64", "aarch64": "arm64" };
/** A package names its maintainer with an address; this project has none. */
const MAINTAINER = "The Veneer authors <veneer@localhost>";

/** Files that are made here rather than installed. */
interface Made {
  readonly path: string;
  readonly text: string;
  readonly packed?: boolean;
}

/** The newest version of glibc that a symbol of the binary names, by `objdump -T`, is 2.27. */
const control = (architecture: string, kilobytes: number): string =>
  `Package: veneer
Version: ${VERSION}
Section: admin
Priority: optional
Architecture: ${architecture}
Maintainer: ${MAINTAINER}
Installed-Size: ${kilobytes}
Depends: libc6 (>= 2.27), libgcc-s1
Recommends: libdevmapper1.02.1, libisal2, e2fsprogs | xfsprogs
Suggests: containerd | docker.io
Description: storage drivers for layers of containers
 Veneer keeps layers of file systems as container engines use them, by overlay2,
 btrfs, devicemapper and aufs. It makes layers, fills them from tars, mounts
 them, lists their changes and writes those as tars.
 .
 It keeps whole images, and serves containerd as a snapshotter and Docker as a
 graph driver plugin.
`;

/** A tag of lintian that stays, and its reason. */
const OVERRIDES: readonly (readonly [tag: string, reason: string])[] = [
  ["embedded-library", "The runtime comes as its project builds it, with libraries in it."],
  ["bogus-mail-host", "The project has no address of its own."],
  ["bogus-mail-host-in-debian-changelog", "The project has no address of its own."],
];

/** How the package is packed, by `dpkg-deb`: small, or in a hurry. */
const SMALL = ["-Zxz"], QUICK = ["-Zgzip", "-z1"];

const made = async (): Promise<Made[]> => [
  {
    path: "usr/share/doc/veneer/copyright",
    text: `Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: veneer

Files: *
Copyright: 2026 The Veneer authors
License: MIT

License: MIT
${indented(await Deno.readTextFile(join(TOP, "LICENSE")))}
`,
  },
  {
    path: "usr/share/doc/veneer/changelog.gz",
    packed: true,
    text: `veneer (${VERSION}) unstable; urgency=medium

  * This version.

 -- ${MAINTAINER}  ${new Date(epoch() * 1000).toUTCString().replace("GMT", "+0000")}
`,
  },
  {
    path: "usr/share/lintian/overrides/veneer",
    text: OVERRIDES.map(([tag, reason]) => `# ${reason}\nveneer: ${tag} *\n`).join("\n"),
  },
];

/** The text after the licence's title and holder, as a field of a control file has it. */
const indented = (licence: string): string =>
  licence.trimEnd().split("\n").slice(4).map((line) => ` ${line === "" ? "." : line}`).join("\n");

/** The time of the package's files, in seconds: `SOURCE_DATE_EPOCH`, or now. */
const epoch = (): number =>
  Number(Deno.env.get("SOURCE_DATE_EPOCH") ?? Math.floor(Date.now() / 1000));

/** Lays out the package's files below a directory. */
async function stage(root: string): Promise<void> {
  await $`make -C ${TOP} -o dist/veneer -o build install PREFIX=/usr DESTDIR=${root}`.quiet();
  // Debian's zsh looks for packages' completions in a directory of theirs.
  const zsh = join(root, "usr/share/zsh");
  await Deno.rename(join(zsh, "site-functions"), join(zsh, "vendor-completions"));
  await $`gzip -9 --no-name ${join(root, "usr/share/man/man1/veneer.1")}`;
  for (const { path, text, packed } of await made()) {
    const target = join(root, path);
    await Deno.mkdir(dirname(target), { recursive: true });
    if (packed) await $`gzip -9 --no-name`.stdinText(text).stdout($.path(target));
    else await Deno.writeTextFile(target, text);
  }
}

/**
 * Makes the package in a directory; returns its path.
 *
 * @param packing small takes a minute, quick some seconds
 * @throws {Error} the binary is missing, or a program of dpkg failed
 */
export async function makeDeb(
  directory: string,
  packing: "small" | "quick" = "small",
): Promise<string> {
  const architecture = ARCHITECTURES[Deno.build.arch];
  if (architecture === undefined) throw new Error(`no package is made for ${Deno.build.arch}`);
  const root = await Deno.makeTempDir({ prefix: "veneer-deb-" });
  try {
    await Deno.chmod(root, 0o755);
    await stage(root);
    const [size] = (await $`du -sk --apparent-size ${root}`.text()).split("\t");
    await Deno.mkdir(join(root, "DEBIAN"));
    await Deno.writeTextFile(join(root, "DEBIAN/control"), control(architecture, Number(size)));
    const sums = await $`find usr -type f -exec md5sum {} +`.cwd(root).text();
    await Deno.writeTextFile(
      join(root, "DEBIAN/md5sums"),
      sums.split("\n").filter(Boolean).sort().map((line) => `${line}\n`).join(""),
    );
    await $`chmod -R u=rwX,go=rX ${root}`;
    const path = join(resolve(directory), `veneer_${VERSION}_${architecture}.deb`);
    const how = packing === "small" ? SMALL : QUICK;
    await $`dpkg-deb --root-owner-group ${how} --build ${root} ${path}`
      .env("SOURCE_DATE_EPOCH", `${epoch()}`).quiet();
    return path;
  } finally {
    await Deno.remove(root, { recursive: true });
  }
}

if (import.meta.main) console.log(await makeDeb(Deno.args[0] ?? join(TOP, "dist")));
