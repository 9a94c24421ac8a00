/**
 * Makes everything there that Veneer is developed, shown and tested with, but for Deno, which `tools/setup` fetches
 * before it hands on to this.
 *
 * Debian packages are installed only for programs and files that are missing (so another package that brings them will
 * do), and package lists are fetched only if installing fails without.
 */
import { existsSync } from "@std/fs";
import $ from "dax";
import { fetchKernel } from "./guest_kernel.ts";

/** What is needed, a program or a file, and the package that brings it. */
type Needed = Readonly<Record<string, string>>;

const DEMO: Needed = {
  "losetup": "mount",
  "findmnt": "util-linux",
  "mkfs.ext4": "e2fsprogs",
  "tar": "tar",
  "modprobe": "kmod",
  "make": "make",
};

const BUILD: Needed = { "gcc": "gcc", "ld": "binutils" };

const CONTAINERD = "/usr/share/gocode/src/github.com/containerd/containerd";
const DOCKER = "/usr/share/gocode/src/github.com/docker/docker/daemon/graphdriver";
const TAR_SPLIT = "/usr/share/gocode/src/github.com/vbatts/tar-split";

/** A busybox that runs in a tree without libraries. Debian's package busybox has another. */
const STATIC_BUSYBOX = "busybox without a loader";

/** The library that inflates gzip, where Debian has it. */
const ISAL = Deno.build.arch === "x86_64"
  ? "/usr/lib/x86_64-linux-gnu/libisal.so.2"
  : "/usr/lib/aarch64-linux-gnu/libisal.so.2";

const TESTS: Needed = {
  "gcc": "gcc",
  "/usr/include/stdio.h": "libc6-dev",
  "/usr/include/linux/openat2.h": "linux-libc-dev",
  "mkfs.xfs": "xfsprogs",
  "mkfs.btrfs": "btrfs-progs",
  "linux.uml": "user-mode-linux",
  "patchelf": "patchelf",
  "dmsetup": "dmsetup",
  "thin_check": "thin-provisioning-tools",
  "udevadm": "udev",
  "/usr/include/libdevmapper.h": "libdevmapper-dev",
  "getfattr": "attr",
  "repquota": "quota",
  "setcap": "libcap2-bin",
  "strace": "strace",
  "zstd": "zstd",
  "gzip": "gzip",
  [ISAL]: "libisal2",
  "pigz": "pigz",
  "git": "git",
  "containers-storage": "containers-storage",
  "dockerd": "docker.io",
  "buildah": "buildah",
  "umoci": "umoci",
  "skopeo": "skopeo",
  "podman": "podman",
  "python3": "python3",
  [STATIC_BUSYBOX]: "busybox-static",
  "man": "man-db",
  "zsh": "zsh",
  "fish": "fish",
  "containerd": "containerd",
  "ctr": "containerd",
  "runc": "runc",
  "go": "golang-go",
  "h2load": "nghttp2-client",
  [CONTAINERD]: "golang-github-containerd-containerd-dev",
  [DOCKER]: "golang-github-docker-docker-dev",
  [TAR_SPLIT]: "golang-github-vbatts-tar-split-dev",
};

/** What each word that this is called with asks for. */
const PARTS: Readonly<Record<string, readonly Needed[]>> = {
  demo: [DEMO],
  build: [DEMO, BUILD],
  all: [DEMO, TESTS],
};

/** The packages of what is missing. */
function missing(needed: readonly Needed[]): string[] {
  const isThere = (thing: string) => {
    if (thing === STATIC_BUSYBOX) return hasStaticBusybox();
    return thing.startsWith("/") ? existsSync(thing) : $.commandExistsSync(thing);
  };
  const pairs = needed.flatMap((part) => Object.entries(part));
  return [...new Set(pairs.filter(([thing]) => !isThere(thing)).map(([, name]) => name))];
}

function hasStaticBusybox(): boolean {
  const path = $.whichSync("busybox");
  // ldd fails for a program that names no loader.
  return path !== undefined && !new Deno.Command("ldd", { args: [path] }).outputSync().success;
}

/** Installs packages; returns why it could not. */
async function install(packages: readonly string[]): Promise<string | undefined> {
  const list = packages.join(" ");
  if (Deno.uid() !== 0) {
    return `setup: missing: ${list}: install them, or run make setup with sudo`;
  }
  if (!$.commandExistsSync("apt-get")) return `setup: no apt-get here: install ${list} by hand`;
  console.log(`setup: installing ${list}`);
  const options = ["--yes", "--quiet", "--no-install-recommends"];
  const attempt = () =>
    $`apt-get install ${options} ${packages}`.env("DEBIAN_FRONTEND", "noninteractive")
      .noThrow().captureCombined().quiet();
  if ((await attempt()).code === 0) return undefined;
  await $`apt-get update --quiet`.quiet("stdout");
  const { code, combined } = await attempt();
  return code === 0 ? undefined : `${combined.trimEnd()}\nsetup: apt-get could not install ${list}`;
}

/** Fetches the guests' newer kernel; tests run without it, and take longer. */
async function fetchGuestKernel(): Promise<void> {
  try {
    await fetchKernel();
  } catch (error) {
    console.error(`setup: no newer kernel for guests, so tests take longer: ${error}`);
  }
}

async function main(part = "all"): Promise<number> {
  Deno.env.set("PATH", `${Deno.env.get("PATH")}:/usr/sbin:/sbin`);
  const packages = missing(PARTS[part] ?? PARTS.demo);
  const failure = packages.length === 0 ? undefined : await install(packages);
  if (failure !== undefined) {
    console.error(failure);
    return 1;
  }
  if (part === "all" && Deno.build.arch === "x86_64") await fetchGuestKernel();
  return (await $`${Deno.execPath()} install --quiet --frozen`.noThrow()).code;
}

if (import.meta.main) Deno.exit(await main(...Deno.args));
