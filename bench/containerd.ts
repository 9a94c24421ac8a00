/**
 * A containerd of the bench's own, with its state in a directory of choice, and calls to its snapshots service.
 *
 * Its API is gRPC: a request and an answer in protobuf over HTTP/2. The few messages that are needed hold
 * strings and one map of strings alone, and answers are only waited for.
 *
 * @module
 */
import http2 from "node:http2";
import net from "node:net";
import { join } from "@std/path";

/** Everything that snapshots do without. */
const DISABLED = [
  "io.containerd.grpc.v1.cri",
  "io.containerd.internal.v1.opt",
  "io.containerd.internal.v1.restart",
  "io.containerd.runtime.v1.linux",
  "io.containerd.runtime.v2.task",
  "io.containerd.monitor.v1.cgroups",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
];

/** What keeps a snapshot that nothing refers to; `ctr` sets it, too. */
export const ROOT_LABEL: readonly [string, string] = ["containerd.io/gc.root", "bench"];

/** A running containerd; disposing of it ends it. */
export class Containerd implements AsyncDisposable {
  readonly #session: http2.ClientHttp2Session;

  private constructor(
    readonly snapshotter: string,
    readonly socket: string,
    readonly process: Deno.ChildProcess,
  ) {
    const connect = () => net.connect(socket);
    this.#session = http2.connect("http://containerd", { createConnection: connect });
  }

  /**
   * Starts it with root and state below a directory.
   *
   * @param proxy the socket of its snapshotter `veneer`, if it has one
   */
  static async start(directory: string, snapshotter: string, proxy?: string): Promise<Containerd> {
    Deno.mkdirSync(directory, { recursive: true });
    const socket = join(directory, "socket"), configuration = join(directory, "config.toml");
    Deno.writeTextFileSync(
      configuration,
      `version = 2
root = "${directory}/root"
state = "${directory}/state"
disabled_plugins = ${JSON.stringify(DISABLED)}
[grpc]
  address = "${socket}"
[ttrpc]
  address = "${socket}.ttrpc"
# Garbage is collected when the bench says so, not in the midst of a turn.
[plugins."io.containerd.gc.v1.scheduler"]
  startup_delay = "24h"
  mutation_threshold = 1000000
  deletion_threshold = 0
${proxy === undefined ? "" : proxyPlugin(proxy)}`,
    );
    // It dies with this process, however that ends.
    const process = new Deno.Command("setpriv", {
      args: [
        "--pdeathsig",
        "KILL",
        "containerd",
        "--config",
        configuration,
        "--log-level",
        "error",
      ],
      stdin: "null",
      stdout: "null",
      stderr: "inherit",
    }).spawn();
    for (let waited = 0;; waited += 50) {
      try {
        (await Deno.connect({ transport: "unix", path: socket })).close();
        return new Containerd(snapshotter, socket, process);
      } catch (error) {
        if (waited > 20_000) {
          process.kill("SIGKILL");
          throw new Error("containerd does not start", { cause: error });
        }
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }

  /** Arguments for `ctr` to do something with snapshots. */
  ctr(...args: string[]): string[] {
    return ["--address", this.socket, "snapshots", "--snapshotter", this.snapshotter, ...args];
  }

  prepare(key: string, parent: string): Promise<void> {
    return this.#snapshots("Prepare", [key, parent], [ROOT_LABEL]);
  }

  commit(name: string, key: string): Promise<void> {
    return this.#snapshots("Commit", [name, key], [ROOT_LABEL]);
  }

  /** Forgets a snapshot; its files go when garbage is collected. */
  remove(key: string): Promise<void> {
    return this.#snapshots("Remove", [key]);
  }

  /** Has garbage collected, and waits for it: what ends with a lease that is deleted synchronously. */
  async collect(): Promise<void> {
    const id = field(1, utf8.encode("bench"));
    await this.#call("containerd.services.leases.v1.Leases/Create", id);
    // Field 2, `sync`, a number: true.
    const synchronously = joined(id, Uint8Array.of(2 << 3, 1));
    await this.#call("containerd.services.leases.v1.Leases/Delete", synchronously);
  }

  /** A call that does nothing: what any call costs. */
  version(): Promise<void> {
    return this.#call("containerd.services.version.v1.Version/Version", new Uint8Array());
  }

  /** The snapshotter's name is every request's first field, labels are the fourth. */
  #snapshots(
    method: string,
    texts: readonly string[],
    labels: readonly (readonly [string, string])[] = [],
  ): Promise<void> {
    const fields = [this.snapshotter, ...texts].map((text, i) => field(i + 1, utf8.encode(text)));
    for (const [key, value] of labels) {
      fields.push(field(4, joined(field(1, utf8.encode(key)), field(2, utf8.encode(value)))));
    }
    return this.#call(`containerd.services.snapshots.v1.Snapshots/${method}`, joined(...fields));
  }

  #call(path: string, message: Uint8Array<ArrayBuffer>): Promise<void> {
    return new Promise((resolve, reject) => {
      const stream = this.#session.request({
        ":method": "POST",
        ":path": `/${path}`,
        "content-type": "application/grpc",
        "te": "trailers",
        "containerd-namespace": "default",
      });
      let status: unknown, text: unknown;
      const look = (headers: Record<string, unknown>) => {
        status ??= headers["grpc-status"];
        text ??= headers["grpc-message"];
      };
      stream.on("response", look);
      stream.on("trailers", look);
      stream.on("data", () => {});
      stream.on("error", reject);
      stream.on("end", () => {
        if (status === "0") resolve();
        else reject(new Error(`${path}: ${status} ${text}`));
      });
      // Not compressed, and the length, before the message itself.
      const frame = new Uint8Array(5 + message.length);
      new DataView(frame.buffer).setUint32(1, message.length);
      frame.set(message, 5);
      stream.end(frame);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#session.close();
    this.process.kill("SIGTERM");
    await this.process.status;
  }
}

const proxyPlugin = (address: string) =>
  `[proxy_plugins.veneer]
  type = "snapshot"
  address = "${address}"
`;

const utf8 = new TextEncoder();

function joined(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  return new Uint8Array(parts.flatMap((part) => [...part]));
}

/** A field of bytes: its number and kind, the length, the bytes. */
function field(number: number, bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const length: number[] = [];
  let left = bytes.length;
  for (; left > 127; left >>= 7) length.push(left & 127 | 128);
  return joined(Uint8Array.of(number << 3 | 2, ...length, left), bytes);
}
