/**
 * A containerd for one case, with the service as its proxy snapshotter. Its root, state and socket
 * are below a directory, and it is ended by its pid.
 */
import { join } from "@std/path";
import {
  IN_TIME,
  lacksFileSystem,
  lacksProgram,
  must,
  type Ran,
  run,
  unmountBelow,
} from "../support/cases.ts";
import { veneer } from "../support/commands.ts";
import { Process, until } from "./service_support.ts";

/** The missing requirement of a case with containerd, if there is one. */
export const lacksContainerd = (): string | undefined =>
  lacksFileSystem("overlay") ?? lacksProgram("containerd") ?? lacksProgram("ctr") ??
    lacksProgram("runc");

/** The containerd to use: this machine's, or one with programs in another directory. */
export interface Engine {
  /** The text before `PATH`, with the colon, also for its shim. */
  readonly path?: string;
  /** The release of its configuration. */
  readonly release: "1.6" | "1.7" | "2.x";
  /** Whether it also serves Kubernetes. */
  readonly servesKubernetes?: boolean;
}

const KUBERNETES =
  '"io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime"';

export class TestContainerd implements AsyncDisposable {
  readonly #process: Process;
  readonly address: string;
  readonly #env: string[];

  private constructor(
    readonly directory: string,
    config: string,
    address: string,
    private readonly engine: Engine,
  ) {
    this.address = address;
    this.#env = [`PATH=${engine.path ?? ""}${Deno.env.get("PATH")}`];
    this.#process = new Process(["env", ...this.#env, "containerd", "--config", config]);
  }

  /**
   * Starts a containerd whose snapshotter `veneer` is at a socket.
   *
   * @param directory the directory of all its files, which is made if it is missing
   * @param options the options with which the service runs
   */
  static async start(
    directory: string,
    socket: string,
    engine: Engine = { release: "1.6" },
    ...options: string[]
  ): Promise<TestContainerd> {
    Deno.mkdirSync(directory, { recursive: true, mode: 0o700 });
    const path = (name: string) => join(directory, name);
    const config = path("config.toml"), address = path("c.sock");
    const command = ["config", "containerd", "--for", engine.release, "--address", socket];
    const ours = veneer(...options, ...command);
    const [version, ...lines] = ours.stdout.split("\n");
    Deno.writeTextFileSync(
      config,
      `${version}
root = "${path("root")}"
state = "${path("state")}"
disabled_plugins = [${engine.servesKubernetes ? "" : KUBERNETES}]
[grpc]
  address = "${address}"
[ttrpc]
  address = "${path("t.sock")}"
${lines.join("\n")}`,
    );
    const containerd = new TestContainerd(directory, config, address, engine);
    await until(() => containerd.ctr("version").success, "containerd to start");
    return containerd;
  }

  /** The command that runs `ctr`. */
  command(...args: string[]): string[] {
    return [...IN_TIME, "env", ...this.#env, "ctr", "--address", this.address, ...args];
  }

  /** Runs `ctr`. */
  ctr(...args: string[]): Ran {
    const [program, ...rest] = this.command(...args);
    return run(program, ...rest);
  }

  /** Runs `ctr`, which must succeed; returns its output. */
  must(...args: string[]): string {
    const [program, ...rest] = this.command(...args);
    return must(program, ...rest);
  }

  /**
   * Writes an image to an archive. The client of 2.x may end before it has written all that the daemon
   * sends, one time in 20, and says nothing; only if it writes by itself, the archive is whole.
   */
  export(name: string, archive: string): void {
    const bySelf = this.engine.release === "2.x" ? ["--local"] : [];
    this.must("images", "export", ...bySelf, archive, name);
  }

  /**
   * Runs a container whose command is that of {@linkcode telling}; returns what it tells.
   *
   * @param words the options of `ctr run`, the image, the container's id, and its command if that
   * is not the image's
   */
  told(...words: string[]): string {
    return this.toldIn("default", ...words);
  }

  /** The same in a namespace. */
  toldIn(namespace: string, ...words: string[]): string {
    const out = Deno.makeTempDirSync({ dir: this.directory, prefix: "out-" });
    // For a root that is mapped.
    Deno.chmodSync(out, 0o777);
    const mount = `type=bind,src=${out},dst=${OUT},options=rbind:rw`;
    this.must("--namespace", namespace, "run", "--rm", "--mount", mount, ...words);
    return Deno.readTextFileSync(join(out, "told"));
  }

  /** The names and kinds of containerd's snapshots in the default namespace. */
  snapshots(): string[] {
    return this.snapshotsOf("default");
  }

  /** The names and kinds of containerd's snapshots in a namespace. */
  snapshotsOf(namespace: string): string[] {
    const list = ["--namespace", namespace, "snapshots", "--snapshotter", "veneer", "ls"];
    const lines = this.must(...list).trim().split("\n");
    return lines.slice(1).map((line) => line.trim().split(/\s+/))
      .map((words) => `${words[0]} ${words.at(-1)}`).sort();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process.end();
    unmountBelow(this.directory);
  }
}

/** Where a container has the directory for what it tells. */
const OUT = "/out";

/**
 * A container's command that runs a script, whose output goes to a file if there is a directory for
 * it. `ctr` closes its pipes when a container ends, and loses what it has not read by then.
 */
export function telling(script: string): string[] {
  return ["/bin/sh", "-c", `[ ! -d ${OUT} ] || exec >${OUT}/told; ${script}`];
}

/**
 * A layer: paths with their content, or with an object for a link's target. Names with `.wh.`
 * delete.
 */
export type LayerTree = Readonly<Record<string, string | { readonly link: string }>>;

/**
 * Makes a Docker archive of an image with busybox.
 *
 * @param directory must exist and be empty
 * @returns the archive's path, and the chain ids of its layers
 */
export async function makeImage(
  directory: string,
  { name, command, layers }: {
    readonly name: string;
    readonly command: readonly string[];
    readonly layers: readonly LayerTree[];
  },
): Promise<{ archive: string; chain: string[] }> {
  const diffIds: string[] = [], files: string[] = [];
  for (const [i, layer] of layers.entries()) {
    const tree = join(directory, `tree${i}`), file = `${i}.tar`;
    Deno.mkdirSync(tree);
    if (i === 0) {
      Deno.mkdirSync(join(tree, "bin"));
      Deno.copyFileSync(busybox()!, join(tree, "bin/busybox"));
      Deno.symlinkSync("busybox", join(tree, "bin/sh"));
    }
    for (const [path, content] of Object.entries(layer)) {
      Deno.mkdirSync(join(tree, path, ".."), { recursive: true });
      if (typeof content === "string") Deno.writeTextFileSync(join(tree, path), content);
      else Deno.symlinkSync(content.link, join(tree, path));
    }
    must("tar", "-C", tree, "--sort=name", "-cf", join(directory, file), ".");
    diffIds.push(`sha256:${await sha256(Deno.readFileSync(join(directory, file)))}`);
    files.push(file);
  }
  const write = (path: string, value: unknown) =>
    Deno.writeTextFileSync(join(directory, path), JSON.stringify(value));
  write("config.json", {
    architecture: Deno.build.arch === "x86_64" ? "amd64" : "arm64",
    os: "linux",
    config: { Cmd: command, Env: ["PATH=/bin"] },
    rootfs: { type: "layers", diff_ids: diffIds },
  });
  write("manifest.json", [{ Config: "config.json", RepoTags: [name], Layers: files }]);
  const archive = join(directory, "image.tar");
  must("tar", "-C", directory, "-cf", archive, "manifest.json", "config.json", ...files);
  return { archive, chain: await chainIds(diffIds) };
}

/**
 * The names under which containerd commits layers. For the first it is the diff id (OCI image spec,
 * "Layer ChainID").
 */
async function chainIds(diffIds: readonly string[]): Promise<string[]> {
  const chain = [diffIds[0]];
  for (const diffId of diffIds.slice(1)) {
    chain.push(`sha256:${await sha256(new TextEncoder().encode(`${chain.at(-1)} ${diffId}`))}`);
  }
  return chain;
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}

/** A shell that needs no library. */
function busybox(): string | undefined {
  return ["/bin/busybox", "/usr/bin/busybox"].find((path) => run("test", "-x", path).success);
}

/** The reason why no image can be made here, if none can. */
export function lacksBusybox(): string | undefined {
  const path = busybox();
  if (path === undefined) return "there is no busybox";
  return run("ldd", path).success ? "busybox is not static" : undefined;
}
