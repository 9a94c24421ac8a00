/**
 * Notifications to a service manager, at a path and at an abstract name. The service works without
 * a manager, too.
 */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { lacksFileSystem, needs, type TempDir, tempDir } from "../support/cases.ts";
import { PROGRAM } from "../support/commands.ts";
import { isThere } from "../support/files.ts";
import { Process, until } from "./service_support.ts";

const lacking = lacksFileSystem("overlay");

/** A manager: prints each datagram that it receives at an address. */
const MANAGER = `
import socket, sys
address = sys.argv[1]
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind("\\0" + address[1:] if address[0] == "@" else address)
print("listening", file=sys.stderr, flush=True)
while True: print(s.recv(4096).decode(), file=sys.stderr, flush=True)
`;

/** Starts a service whose manager is to be told at an address. */
function serve(dir: TempDir, address: string): { service: Process; socket: string } {
  const socket = join(dir.path, "v");
  const store = ["--root", join(dir.path, "root"), "--driver", "overlay2"];
  const words = [...PROGRAM, ...store, "serve", "containerd", "--address", socket];
  return { service: new Process(words, { NOTIFY_SOCKET: address }), socket };
}

for (const kind of ["path", "abstract name"]) {
  needs(
    lacking,
    `service: a manager at a ${kind} is notified when the service is ready`,
    async () => {
      using dir = tempDir("serve-");
      const address = kind === "path" ? join(dir.path, "n") : `@veneer-test-${crypto.randomUUID()}`;
      const manager = new Process(["python3", "-c", MANAGER, address]);
      try {
        await manager.said(/listening/);
        const { service, socket } = serve(dir, address);
        await manager.said(/READY=1/);
        assertEquals(isThere(socket), true, "the socket is there when it is said to be");
        assertEquals(await service.end("SIGTERM"), 0);
        await manager.said(/STOPPING=1/);
        assertEquals(manager.log, "listening\nREADY=1\nSTOPPING=1\n");
      } finally {
        await manager.end("SIGKILL");
      }
    },
  );
}

needs(lacking, "service: a manager that cannot be notified is a warning", async () => {
  using dir = tempDir("serve-");
  for (
    const [address, reason] of [[join(dir.path, "nobody"), "ENOENT"], [
      "relative",
      "neither a path",
    ], [`@${"x".repeat(200)}`, "bytes"]]
  ) {
    const { service, socket } = serve(dir, address);
    await until(() => isThere(socket), "the service to listen");
    assertEquals(await service.end("SIGTERM"), 0);
    assertStringIncludes(service.log, "the service manager was not told READY=1");
    assertStringIncludes(service.log, reason);
  }
});
