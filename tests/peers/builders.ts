/**
 * Builders of images: Docker, Buildah and umoci make layers of the same steps, each in its own way.
 *
 * umoci reads no Dockerfile: it packs what changed in a tree in which the steps ran.
 */
import { assertEquals } from "@std/assert";
import { join } from "@std/path";
import { lacksFileSystem, lacksProgram, must } from "../support/cases.ts";
import { Docker, lacksDocker } from "./docker.ts";

/** An image as its builder stores and shows it. */
export interface BuiltImage {
  /** The whole image: an archive, or a layout. */
  readonly source: string;
  /** The files of the layers, lowest first: tars, or gzip streams of tars. */
  readonly layers: readonly string[];
  /** Runs `use` on the image's tree as the builder itself mounts or unpacks it. */
  readonly shown: <T>(use: (root: string) => T) => T;
}

/** Makes images in a directory of its own. */
export interface Builder extends AsyncDisposable {
  /**
   * Makes an image of a tar and of shell commands that run on it one after the other, each of which
   * makes a layer.
   */
  build(name: string, base: string, commands: readonly string[]): BuiltImage;

  /**
   * Reads an image that others wrote, as a layout and as an archive, which must have that id, and
   * runs `use` on its tree.
   */
  reread<T>(layout: string, tar: string, name: string, id: string, use: (root: string) => T): T;
}

/** A builder that is known, and why it does not run here, if it does not. */
export interface KnownBuilder {
  readonly name: string;
  readonly lacking: string | undefined;
  readonly open: (directory: string) => Builder;
}

export const BUILDERS: readonly KnownBuilder[] = [
  { name: "docker", lacking: await lacksDocker(), open: (at) => new DockerBuilder(at) },
  {
    name: "buildah",
    lacking: lacksFileSystem("overlay") ?? lacksProgram("buildah"),
    open: (at) => new BuildahBuilder(at),
  },
  { name: "umoci", lacking: lacksProgram("umoci"), open: (at) => new UmociBuilder(at) },
];

/** A directory with a Dockerfile and what it adds. */
function makeContext(directory: string, base: string, commands: readonly string[]): string {
  Deno.mkdirSync(directory, { recursive: true });
  Deno.copyFileSync(base, join(directory, "base.tar"));
  const steps = commands.map((command) => `RUN ${command}\n`);
  Deno.writeTextFileSync(
    join(directory, "Dockerfile"),
    ["FROM scratch\n", "ADD base.tar /\n", ...steps].join(""),
  );
  return directory;
}

/** A name in an image layout: `sha256:<digest>`. */
interface Descriptor {
  readonly digest: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** The layers of an image in a directory of the OCI image layout. */
function layersOfLayout(layout: string, name: string): string[] {
  const read = (...path: string[]) => JSON.parse(Deno.readTextFileSync(join(layout, ...path)));
  const blob = ({ digest }: Descriptor) => join("blobs", ...digest.split(":"));
  const image = (read("index.json").manifests as Descriptor[])
    .find(({ annotations }) => annotations?.["org.opencontainers.image.ref.name"] === name)!;
  return (read(blob(image)).layers as Descriptor[]).map((layer) => join(layout, blob(layer)));
}

/** dockerd of a store of its own; its layers are mounted as its driver does. */
class DockerBuilder implements Builder {
  readonly #docker: Docker;
  #isStarted = false;

  constructor(readonly directory: string) {
    this.#docker = new Docker(directory);
  }

  build(name: string, base: string, commands: readonly string[]): BuiltImage {
    if (!this.#isStarted) this.#docker.start();
    this.#isStarted = true;
    const context = makeContext(join(this.directory, name), base, commands);
    this.#docker.must("build", "--quiet", "--network", "none", "-t", name, context);
    const saved = join(context, "saved");
    Deno.mkdirSync(saved);
    this.#docker.must("save", "-o", `${saved}.tar`, name);
    must("tar", "-C", saved, "-xf", `${saved}.tar`);
    const [{ Layers }] = JSON.parse(Deno.readTextFileSync(join(saved, "manifest.json")));
    return {
      source: `${saved}.tar`,
      layers: (Layers as string[]).map((file) => join(saved, file)),
      shown: (use) => this.#mounted(name, context, use),
    };
  }

  reread<T>(_layout: string, tar: string, name: string, id: string, use: (root: string) => T): T {
    this.#docker.must("image", "rm", "--force", name);
    this.#docker.must("load", "-i", tar);
    assertEquals(this.#docker.must("image", "inspect", "-f", "{{.Id}}", name).trim(), id);
    const context = join(this.directory, "reread");
    Deno.mkdirSync(context);
    return this.#mounted(name, context, use);
  }

  #mounted<T>(name: string, context: string, use: (root: string) => T): T {
    const format = "{{.GraphDriver.Data.UpperDir}}:{{.GraphDriver.Data.LowerDir}}";
    const directories = this.#docker.must("image", "inspect", "-f", format, name);
    const root = join(context, "root");
    Deno.mkdirSync(root);
    must("mount", "-t", "overlay", "-o", `ro,lowerdir=${directories}`, "overlay", root);
    try {
      return use(root);
    } finally {
      must("umount", root);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#docker[Symbol.asyncDispose]();
  }
}

/** Buildah with a store of its own, and steps in a chroot: no runtime is needed. */
class BuildahBuilder implements Builder {
  constructor(readonly directory: string) {}

  build(name: string, base: string, commands: readonly string[]): BuiltImage {
    const context = makeContext(join(this.directory, name), base, commands);
    this.#must("build", "--quiet", "--layers", "--isolation", "chroot", "-t", name, context);
    const layout = join(context, "layout");
    this.#must("push", "--quiet", name, `oci:${layout}:${name}`);
    return {
      source: layout,
      layers: layersOfLayout(layout, name),
      shown: (use) => {
        const container = this.#must("from", "--pull-never", name);
        try {
          return use(this.#must("mount", container));
        } finally {
          this.#must("rm", container);
        }
      },
    };
  }

  reread<T>(layout: string, tar: string, _name: string, id: string, use: (root: string) => T): T {
    const sources = [`oci:${layout}`, `oci-archive:${tar}`, `docker-archive:${tar}`];
    const [first, ...others] = sources.map((source) => {
      const container = this.#must("from", "--quiet", source);
      try {
        const format = "{{.FromImageID}}";
        assertEquals(`sha256:${this.#must("inspect", "-f", format, container)}`, id, source);
        return use(this.#must("mount", container));
      } finally {
        this.#must("rm", container);
      }
    });
    for (const other of others) assertEquals(other, first);
    return first;
  }

  #must(...args: string[]): string {
    const stores = [
      "--root",
      join(this.directory, "graph"),
      "--runroot",
      join(this.directory, "run"),
    ];
    return must("buildah", ...stores, "--storage-driver", "overlay", ...args).trim();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}

/** umoci, which packs the changes of a tree, and unpacks it anew to show it. */
class UmociBuilder implements Builder {
  constructor(readonly directory: string) {}

  build(name: string, base: string, commands: readonly string[]): BuiltImage {
    const layout = join(this.directory, `${name}.layout`), image = `${layout}:${name}`;
    must("umoci", "init", "--layout", layout);
    must("umoci", "new", "--image", image);
    const bundle = join(this.directory, `${name}.bundle`), root = join(bundle, "rootfs");
    must("umoci", "unpack", "--image", image, bundle);
    const repack = () => must("umoci", "repack", "--refresh-bundle", "--image", image, bundle);
    must("tar", "-C", root, "--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf", base);
    repack();
    for (const command of commands) {
      must("chroot", root, "/bin/sh", "-c", command);
      repack();
    }
    return {
      source: layout,
      layers: layersOfLayout(layout, name),
      shown: (use) => {
        const shown = join(this.directory, `${name}.shown`);
        must("umoci", "unpack", "--image", image, shown);
        return use(join(shown, "rootfs"));
      },
    };
  }

  reread<T>(layout: string, _tar: string, name: string, id: string, use: (root: string) => T): T {
    const image = `${layout}:${name.slice(name.lastIndexOf(":") + 1)}`;
    const shown = join(this.directory, "reread");
    must("umoci", "unpack", "--image", image, shown);
    const { digest } = JSON.parse(must("umoci", "stat", "--image", image, "--json")).config ?? {};
    if (digest !== undefined) assertEquals(digest, id);
    return use(join(shown, "rootfs"));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }
}
