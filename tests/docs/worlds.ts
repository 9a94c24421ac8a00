/**
 * Machines on which the sessions of the documents are typed: this one, with other directories at the
 * places that they write to, in a mount namespace of each session's own.
 */
import { join } from "@std/path";
import { shellWords } from "../support/commands.ts";
import { must, type Ran, run } from "../support/cases.ts";
import { BASE, OWN, writeDockerStore } from "../images/literal_docker_store.ts";
import { image, layer, oneImage, writeFiles } from "../images/builder.ts";
import { file } from "../tar/support/tar_builder.ts";
import { PROGRAM } from "../support/commands.ts";
import { TOP } from "./blocks.ts";

/** What is in the store before a session. */
export type World = "empty" | "layers" | "snapshots" | "images" | "everything" | "aufs";

/** What is typed to make each from the one before. */
const MAKING: Readonly<Record<World, readonly [from: World | undefined, script: string]>> = {
  empty: [undefined, ""],
  layers: [
    "empty",
    `veneer create base
veneer apply base base.tar
veneer create app --parent base
m=$(veneer mount app)
echo Hello >$m/etc/issue
rm $m/etc/motd
veneer umount app
veneer create tool --parent base
veneer create app-run --parent app
veneer cleanup`,
  ],
  snapshots: [
    "empty",
    `veneer snapshot prepare import
veneer snapshot apply import base.tar
veneer snapshot commit base import
veneer snapshot prepare work --parent base
m=$(veneer snapshot mount work)
echo Hello >$m/etc/issue
rm $m/etc/motd
veneer snapshot umount work
veneer snapshot commit app work
veneer snapshot prepare app-run --parent app
veneer snapshot view look --parent base --label team=blue
veneer snapshot cleanup`,
  ],
  images: ["empty", "veneer image import alpine.tar --name alpine\nveneer snapshot cleanup"],
  everything: [
    "layers",
    `veneer image import alpine.tar --name alpine
veneer snapshot prepare import
veneer snapshot apply import base.tar
veneer snapshot commit base import
veneer snapshot view look --parent base --label team=blue
veneer snapshot cleanup
mkdir -p /var/lib/veneer/services/veneer
cp -a /var/lib/veneer/snapshots /var/lib/veneer/services/veneer/`,
  ],
  aufs: ["empty", ""],
};

/** The worlds of a test, below a directory of its own. */
export class Worlds {
  readonly #made = new Map<World, string>();
  #count = 0;

  constructor(readonly directory: string) {
    this.#makeFiles(this.#path("files"));
    // Copies of what a session may write to.
    must("cp", "-a", "/etc", this.#path("etc"));
    Deno.writeTextFileSync(this.#path("veneer"), `#!/bin/sh\nexec ${shellWords(PROGRAM)} "$@"\n`, {
      mode: 0o755,
    });
  }

  #path(name: string): string {
    return join(this.directory, name);
  }

  /** The files beside the store. */
  #makeFiles(directory: string): void {
    const tree = join(directory, "tree"), bin = join(tree, "bin");
    for (const at of ["bin", "etc", "srv"]) Deno.mkdirSync(join(tree, at), { recursive: true });
    must("cp", "/bin/busybox", join(bin, "busybox"));
    for (const name of ["sh", "cat"]) Deno.symlinkSync("busybox", join(bin, name));
    for (const name of ["apk", "make"]) {
      Deno.writeTextFileSync(join(bin, name), `#!/bin/sh\necho $* >/etc/${name}\n`, {
        mode: 0o755,
      });
    }
    Deno.writeTextFileSync(join(tree, "srv/configure"), "#!/bin/sh\necho configured\n", {
      mode: 0o755,
    });
    Deno.writeTextFileSync(join(tree, "etc/motd"), "motd\n");
    Deno.writeTextFileSync(join(tree, "etc/os-release"), "NAME=x\n");
    must("tar", "-C", tree, "-cf", join(directory, "base.tar"), ".");
    must("tar", "-C", tree, "-czf", join(directory, "base.tar.gz"), "etc");
    Deno.mkdirSync(join(directory, "top/etc"), { recursive: true });
    Deno.writeTextFileSync(join(directory, "top/etc/issue"), "Hello\n");
    must("tar", "-C", join(directory, "top"), "-czf", join(directory, "layer.tar.gz"), "etc");
    const layers = [layer([file("etc/new", "new")])];
    writeFiles(join(directory, "layout"), oneImage(image(layers, { architecture: "arm64" })));
    must("cp", "-a", join(TOP, "deno.json"), directory);
  }

  /** The store of a world, which is made once. */
  #store(world: World): string {
    const known = this.#made.get(world);
    if (known !== undefined) return known;
    const store = this.#path(`store-${world}`), [from, script] = MAKING[world];
    this.#made.set(world, store);
    if (from === undefined) Deno.mkdirSync(store);
    else must("cp", "-a", this.#store(from), store);
    if (world === "images") this.#makeImage(store);
    if (world === "everything") this.#store("images");
    const driver = world === "aufs" ? "aufs" : world === "everything" ? "overlay2" : undefined;
    if (driver !== undefined) this.#makeDocker(join(store, "docker"), driver);
    if (script !== "") this.#must(this.#typed(script, store), script);
    return store;
  }

  /** An image with a shell, as a tar among the files. */
  #makeImage(store: string): void {
    const tar = join(this.#path("files"), "alpine.tar");
    const script = `veneer snapshot prepare first
veneer snapshot apply first base.tar
veneer image commit first --name alpine
veneer image export alpine -o alpine.tar
veneer image rm alpine
veneer snapshot ls -0 | xargs -0r veneer snapshot rm
veneer snapshot cleanup`;
    this.#must(this.#typed(script, store), tar);
  }

  /** A stopped Docker, with a container `web`. */
  #makeDocker(root: string, driver: "aufs" | "overlay2"): void {
    writeDockerStore(root, driver);
    if (driver === "aufs") {
      Deno.mkdirSync(join(root, "aufs/layers"));
      for (const id of [BASE, OWN]) Deno.writeTextFileSync(join(root, "aufs/layers", id), "");
    }
    for (const { name } of Deno.readDirSync(join(root, "containers"))) {
      const path = join(root, "containers", name, "config.v2.json");
      const config = Deno.readTextFileSync(path);
      Deno.writeTextFileSync(path, config.replace('"/box"', '"/web"'));
    }
  }

  #must({ code, stdout, stderr }: Ran, what: string): void {
    if (code !== 0) throw new Error(`${what}: ${code}: ${stdout}${stderr}`);
  }

  /** Types a script in a world. */
  type(world: World, script: string): Ran {
    const made = this.#store(world), session = this.#path(`session-${++this.#count}`);
    Deno.mkdirSync(session);
    const store = join(session, "store"), files = join(session, "files");
    must("cp", "-a", made, store);
    must("cp", "-a", this.#path("files"), files);
    return this.#typed(script, store, files);
  }

  #typed(script: string, store: string, files = this.#path("files")): Ran {
    const places = `
mount -t tmpfs tmpfs /run && mkdir -m 711 /run/veneer
mount -t tmpfs tmpfs /usr/local && mkdir -p /usr/local/share/zsh/site-functions
mount -t tmpfs tmpfs /var/lib && mkdir /var/lib/veneer /var/lib/docker
mount --bind "$STORE" /var/lib/veneer
[ ! -d "$STORE/docker" ] || mount --bind "$STORE/docker" /var/lib/docker
mount --bind "$ETC" /etc
for place in /etc/veneer /etc/docker /etc/bash_completion.d; do
  mkdir -p $place; mount -t tmpfs tmpfs $place
done
mkdir -p ~/.config/fish/completions
cd "$FILES"
serving() {
  : >log; "$@" 2>log & local service=$!
  until grep -q msg=serving log; do kill -0 $service; sleep 0.1; done
  head -n 1 log; kill $service; wait $service
}`;
    return run(
      "env",
      `STORE=${store}`,
      `ETC=${this.#path("etc")}`,
      `FILES=${files}`,
      `HOME=${this.#path("home")}`,
      `PATH=${this.directory}:${Deno.env.get("PATH")}`,
      `DENO_DIR=${Deno.env.get("DENO_DIR") ?? join(Deno.env.get("HOME")!, ".cache/deno")}`,
      "NO_COLOR=1",
      "LC_ALL=C.UTF-8",
      ...["unshare", "--mount", "--propagation", "private"],
      ...["bash", "-c", `set -eo pipefail\n${places}\n${script}`],
    );
  }
}
