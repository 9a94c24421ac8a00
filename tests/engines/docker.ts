/**
 * A dockerd that keeps its images in containerd, as Docker 28 and newer do: of a case's own, with its client and its
 * builder, below one directory. It has no network.
 *
 * @module
 */
import { join } from "@std/path";
import { IN_TIME, must, type Ran, run, unmountBelow } from "../support/cases.ts";
import { Process, until } from "../services/service_support.ts";
import { fetched } from "./engines.ts";

export class ContainerdDocker implements AsyncDisposable {
  readonly #process: Process;
  readonly #env: string[];
  readonly #socket: string;

  private constructor(readonly directory: string, suite: string, containerd: string) {
    const path = (name: string) => join(directory, name);
    this.#socket = `unix://${path("d.sock")}`;
    this.#env = [
      `PATH=${fetched(suite, "usr/sbin")}:${fetched(suite, "usr/bin")}:${Deno.env.get("PATH")}`,
      `DOCKER_CONFIG=${path("client")}`,
      `DOCKER_HOST=${this.#socket}`,
    ];
    const dockerd = [
      ...["--config-file", path("daemon.json"), "--containerd", containerd, "-H", this.#socket],
      ...["--data-root", path("data"), "--exec-root", path("exec"), "--pidfile", path("pid")],
      ...["--iptables=false", "--ip6tables=false", "--bridge=none"],
    ];
    this.#process = new Process(["env", ...this.#env, "dockerd", ...dockerd]);
  }

  /**
   * Starts one.
   *
   * @param directory where it keeps everything; made if it is missing; short, since it holds sockets
   * @param suite whose engines it is of
   * @param containerd the address of its containerd, which has the snapshotter `veneer`
   */
  static async start(
    directory: string,
    suite: string,
    containerd: string,
  ): Promise<ContainerdDocker> {
    const write = (name: string, value: unknown) =>
      Deno.writeTextFileSync(join(directory, name), JSON.stringify(value));
    Deno.mkdirSync(join(directory, "client"), { recursive: true, mode: 0o700 });
    write("daemon.json", {
      features: { "containerd-snapshotter": true },
      "storage-driver": "veneer",
    });
    write("client/config.json", {
      cliPluginsExtraDirs: [fetched(suite, "usr/libexec/docker/cli-plugins")],
    });
    const docker = new ContainerdDocker(directory, suite, containerd);
    await docker.#process.until(() => docker.try("version").success, "dockerd to start");
    return docker;
  }

  #words(args: readonly string[]): string[] {
    return [...IN_TIME, "env", ...this.#env, "docker", ...args];
  }

  /** Runs a command of the client. */
  try(...args: string[]): Ran {
    const [program, ...words] = this.#words(args);
    return run(program, ...words);
  }

  /** Runs a command of the client that must succeed; returns what it prints. */
  must(...args: string[]): string {
    const [program, ...words] = this.#words(args);
    return must(program, ...words).trim();
  }

  /** Waits until a command of the client succeeds. */
  async until(what: string, ...args: string[]): Promise<void> {
    await until(() => this.try(...args).success, what);
  }

  /** Ends it with a signal. */
  async end(signal: Deno.Signal): Promise<void> {
    await this.#process.end(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process.end();
    unmountBelow(this.directory);
  }
}
