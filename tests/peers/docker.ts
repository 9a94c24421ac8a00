/**
 * A Docker daemon of a case's own: its store, sockets and processes are below one directory.
 *
 * It has no network: containers get none, and no rule of a firewall is touched.
 */
import { join } from "@std/path";
import { veneer } from "../support/commands.ts";
import {
  IN_TIME,
  lacksFileSystem,
  lacksProgram,
  must,
  type Ran,
  run,
  tempDir,
  unmountBelow,
} from "../support/cases.ts";

/** How long the daemon may take to start or end, in milliseconds. */
const PATIENCE = 120_000;

/** The client that came with the daemon, where another one stands before it in `PATH`. */
const CLIENT = run("test", "-x", "/usr/bin/docker").success ? "/usr/bin/docker" : "docker";

/** Storage drivers of Docker's that Veneer has, too. */
export type Driver = "overlay2" | "btrfs" | "devicemapper";

/** What a daemon is started with beside a store and a driver. */
export interface DaemonSettings {
  /** The storage driver's name, if it is a plugin. */
  readonly storageDriver?: string;
  readonly args?: readonly string[];
  /** Directories of programs, which go before `PATH`. */
  readonly path?: readonly string[];
  /** The directory of the client's plugins, if builds are BuildKit's. */
  readonly buildx?: string;
}

/** A running daemon. `await using` ends it, and takes down what it left mounted. */
export class Docker implements AsyncDisposable {
  readonly #directory: string;
  /** Docker's `exec-root`, for sockets: containerd takes none whose path has more than 104 bytes. */
  readonly #exec = Deno.makeTempDirSync({ dir: "/run", prefix: "docker-" });
  /** Its storage driver. */
  readonly driver: Driver;
  readonly #options: readonly string[];
  readonly #settings: DaemonSettings;
  #daemon: Deno.ChildProcess | undefined;

  /**
   * @param directory where all of it goes; short, since it holds sockets
   * @param driver the storage driver, which must work on the file system of `directory`
   * @param options of that driver
   */
  constructor(
    directory: string,
    driver: Driver = "overlay2",
    options: readonly string[] = [],
    settings: DaemonSettings = {},
  ) {
    this.#settings = settings;
    this.#directory = directory;
    this.driver = driver;
    this.#options = options;
    Deno.mkdirSync(this.#path("config"), { recursive: true });
    if (settings.buildx === undefined) return;
    const config = JSON.stringify({ cliPluginsExtraDirs: [settings.buildx] });
    Deno.writeTextFileSync(this.#path("config/config.json"), config);
  }

  /** Docker's `data-root`, which Veneer takes for `--root`. */
  get root(): string {
    return this.#path("data");
  }

  #path(name: string): string {
    return join(this.#directory, name);
  }

  /**
   * Starts the daemon on its store; again if its containerd was not up in the time that it gives it, as happens
   * on a machine that is busy.
   *
   * @throws with the end of its log if it does not come up
   */
  start(): void {
    const reason = this.#tryStart();
    if (reason === undefined) return;
    const isBusy = /timeout waiting for containerd/.test(reason);
    if (isBusy) this.#endContainerd(); // It holds its database, for which the next would wait.
    const again = isBusy ? this.#tryStart() : reason;
    if (again !== undefined) throw new Error(`dockerd did not start: ${again}`);
  }

  /** Why it did not come up, if it did not. */
  #tryStart(): string | undefined {
    const log = this.#path("log");
    const { storageDriver = this.driver, args = [] } = this.#settings;
    const dockerd = [
      ...["dockerd", "--data-root", this.root, "--exec-root", this.#exec],
      ...["-H", this.#socket, "--pidfile", this.#path("pid"), "--storage-driver", storageDriver],
      ...this.#options.flatMap((option) => ["--storage-opt", option]),
      ...["--iptables=false", "--ip6tables=false", "--ip-masq=false", "--bridge=none"],
      ...args,
    ];
    this.#daemon = new Deno.Command("setpriv", {
      // Should this process be killed, the daemon still ends, and ends its containers.
      args: ["--pdeathsig", "TERM", "sh", "-c", 'log=$1; shift; exec "$@" >"$log" 2>&1', "sh", log]
        .concat(dockerd),
      env: this.#env,
      stdin: "null",
    }).spawn();
    for (let waited = 0; waited < PATIENCE; waited += 100) {
      if (this.try("version").success) return undefined;
      if (!run("kill", "-0", `${this.#daemon.pid}`).success) break;
      run("sleep", "0.1");
    }
    return Deno.readTextFileSync(log).trim().split("\n").slice(-10).join("\n") || "it said nothing";
  }

  get #socket(): string {
    return `unix://${this.#path("sock")}`;
  }

  /** Ends the daemon, which ends its containerd; no container runs any more. */
  async stop(): Promise<void> {
    const daemon = this.#daemon;
    if (daemon === undefined) return;
    this.#daemon = undefined;
    const timer = setTimeout(() => daemon.kill("SIGKILL"), PATIENCE);
    try {
      daemon.kill("SIGTERM");
    } catch {
      // It ended by itself.
    }
    await daemon.status;
    clearTimeout(timer);
    this.#endContainerd();
  }

  get #env(): Record<string, string> {
    return { PATH: [...this.#settings.path ?? [], Deno.env.get("PATH")].join(":") };
  }

  /** Kills the daemon; what it started goes on, and the next one finds it. */
  async kill(): Promise<void> {
    const daemon = this.#daemon;
    this.#daemon = undefined;
    daemon?.kill("SIGKILL");
    await daemon?.status;
    run("rm", "-f", this.#path("pid"));
  }

  /** Ends the containerd that a killed daemon left. */
  #endContainerd(): void {
    const pidFile = join(this.#exec, "containerd/containerd.pid");
    if (!run("test", "-s", pidFile).success) return;
    const pid = Deno.readTextFileSync(pidFile).trim();
    const command = run("cat", `/proc/${pid}/cmdline`).stdout;
    if (command.includes(this.#exec)) run("kill", "-KILL", pid);
  }

  /** The command line of the client. */
  words(...args: readonly string[]): string[] {
    const { path, buildx } = this.#settings;
    const config = `DOCKER_CONFIG=${this.#path("config")}`;
    // By default the builder that runs in the daemon itself.
    const builder = `DOCKER_BUILDKIT=${buildx === undefined ? 0 : 1}`;
    const client = path === undefined ? CLIENT : "docker";
    const words = [config, builder, `PATH=${this.#env.PATH}`, client, "-H", this.#socket];
    return [...IN_TIME, "env", ...words, ...args];
  }

  /** Runs a command of the client. */
  try(...args: string[]) {
    const [program, ...words] = this.words(...args);
    return run(program, ...words);
  }

  /** Runs a command of the client that must succeed; returns what it prints. */
  must(...args: string[]): string {
    const { success, stdout, stderr } = this.try(...args);
    if (!success) throw new Error(`docker ${args.join(" ")}: ${stderr || stdout}`);
    return stdout.trim();
  }

  /** Runs a shell command in a new container of an image. */
  sh(image: string, command: string): string {
    return this.must("run", "--rm", "--network", "none", image, "/bin/sh", "-c", command);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    unmountBelow(this.#directory);
    unmountBelow(this.#exec);
    // In a user namespace the daemon uses a directory beside it.
    must(
      "find",
      "/run",
      "-maxdepth",
      "1",
      "-path",
      `${this.#exec}*`,
      "-exec",
      "rm",
      "-r",
      "{}",
      "+",
    );
  }
}

/** Makes a tree in which programs of this machine run: with them go the libraries they are linked with. */
export function makeSystem(tree: string, programs: readonly string[]): void {
  Deno.mkdirSync(join(tree, "bin"), { recursive: true });
  for (const program of programs) {
    const file = must("bash", "-c", `type -P "$0"`, program).trim();
    must("cp", "-L", file, join(tree, "bin", program));
    for (const [library] of must("ldd", file).matchAll(/\/\S+/g)) {
      must("install", "-D", "-m", "755", library, join(tree, library));
    }
  }
}

/** Layers by id, with the parent of each, `""` for none. */
export type Parents = Record<string, string>;

/** What Docker itself says of its layers, which it keeps apart from the driver's directories. */
export function parentsByDocker(
  root: string,
  driver = "overlay2",
): { images: Parents; containers: Parents } {
  const database = join(root, "image", driver, "layerdb");
  const names = (folder: string) => {
    const path = join(database, folder);
    return run("test", "-d", path).success
      ? [...Deno.readDirSync(path)].map(({ name }) => name)
      : [];
  };
  const read = (...path: string[]) => Deno.readTextFileSync(join(database, ...path));
  /** `sha256:<chain>`, the parent's name there, to its directory. */
  const parentOf = (layer: string) =>
    names(layer).includes("parent") ? read(...read(layer, "parent").split(":"), "cache-id") : "";
  const images: Parents = {}, containers: Parents = {};
  for (const chain of names("sha256")) {
    images[read("sha256", chain, "cache-id")] = parentOf(`sha256/${chain}`);
  }
  for (const name of names("mounts")) {
    const init = read("mounts", name, "init-id");
    containers[read("mounts", name, "mount-id")] = init;
    containers[init] = parentOf(`mounts/${name}`);
  }
  return { images, containers };
}

/** What Veneer warns of beside a daemon at work. */
const BESIDE = [
  /^veneer: warning: dockerd \(pid \d+\) runs on this store\n/m,
  /^veneer: warning: layers? \S.* mounted by another program and left alone;.*\n/m,
];

/** Runs Veneer on a daemon's store; returns what it says beside that the daemon and its mounts are there. */
export function veneerBeside(
  { root, driver }: Pick<Docker, "root" | "driver">,
  ...args: string[]
): Ran {
  const ran = veneer("--root", root, "--driver", driver, ...args);
  const stderr = BESIDE.reduce((said, warning) => said.replace(warning, ""), ran.stderr);
  return { ...ran, stderr };
}

/** Mounts control groups, without which no container runs, if nothing did so yet: a guest mounts none. */
export function mountControlGroups(): void {
  if (run("mountpoint", "-q", "/sys/fs/cgroup").success) return;
  must("mount", "-t", "cgroup2", "none", "/sys/fs/cgroup");
}

/** Why no daemon, or no container, runs here, if it does not. Tries it. */
export async function lacksDocker(): Promise<string | undefined> {
  const lacking = lacksFileSystem("overlay") ?? lacksProgram("dockerd") ?? lacksProgram(CLIENT) ??
    lacksProgram("runc");
  if (lacking !== undefined) return lacking;
  using dir = tempDir("docker-");
  await using docker = new Docker(dir.path);
  try {
    docker.start();
    const system = join(dir.path, "system");
    makeSystem(system, ["sh"]);
    must("tar", "-C", system, "-cf", `${system}.tar`, ".");
    docker.must("import", `${system}.tar`, "system");
    docker.sh("system", "exit 0");
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message.trim() : `${error}`;
  }
}
