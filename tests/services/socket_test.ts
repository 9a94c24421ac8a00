/**
 * The socket of a service: the sockets that it replaces, the directories that it accepts, and its
 * end.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path";
import { close, O_CREAT, O_RDWR, open } from "../../ffi/files.ts";
import { tryLock } from "../../ffi/flock.ts";
import { lchown } from "../../ffi/paths.ts";
import type { ErrorCode } from "../../lib/base/errors.ts";
import { PROGRAM, refusal, veneer } from "../support/commands.ts";
import { lacksFileSystem, lacksProgram, must, needs, run, tempDir } from "../support/cases.ts";
import { names } from "../support/files.ts";
import { Process, TestService } from "./service_support.ts";

const lacking = lacksFileSystem("overlay");

/**
 * A directory with a store's root, and a function that returns the error of a service that refuses
 * to start there.
 */
function place() {
  const directory = tempDir("socket-");
  const words = (
    address: string,
  ) => [
    "--root",
    join(directory.path, "root"),
    "--driver",
    "overlay2",
    "serve",
    "containerd",
    "--address",
    address,
  ];
  return {
    path: directory.path,
    words,
    refused: (code: ErrorCode, address: string) => refusal(code, veneer(...words(address))),
    [Symbol.dispose]: () => directory[Symbol.dispose](),
  };
}

needs(
  lacking,
  "socket: only root can use it, its directory is made, and the service removes it",
  async () => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      using at = place();
      const address = join(at.path, "a/b/v.sock");
      const service = new Process([...PROGRAM, ...at.words(`unix://${address}`)]);
      await service.said(/serving/);
      const { mode, uid, isSocket } = Deno.lstatSync(address);
      assertEquals([mode! & 0o7777, uid, isSocket], [0o600, 0, true]);
      assertEquals(Deno.lstatSync(join(at.path, "a/b")).mode! & 0o7777, 0o711);
      assertEquals(await service.end(signal), 0);
      assertEquals(names(join(at.path, "a/b")), []);
    }
  },
);

needs(lacking, "socket: one that a killed service left is replaced", async () => {
  await using service = await TestService.start();
  await service.process.end("SIGKILL");
  assert(Deno.lstatSync(service.address).isSocket);
  await service.restart();
  using _client = await service.connect();
});

needs(lacking, "socket: if another program listens, the service is refused", async () => {
  using at = place();
  const address = join(at.path, "v.sock");
  {
    using _other = Deno.listen({ transport: "unix", path: address });
    assertMatch(at.refused("in use", address), /another service listens at .*v\.sock/);
    assert(Deno.lstatSync(address).isSocket);
  }
  {
    const service = new Process([...PROGRAM, ...at.words(address)]);
    await service.said(/serving/);
    assertMatch(at.refused("in use", address), /another service listens/);
    // A stopped service does not answer, but still exists.
    service.signal("SIGSTOP");
    assertMatch(at.refused("in use", address), /another service listens/);
    service.signal("SIGCONT");
    assertEquals(await service.end(), 0);
  }
});

needs(lacking, "socket: if many services start at once on a leftover, one listens", async () => {
  for (let round = 0; round < 3; round++) {
    using at = place();
    const address = join(at.path, "v.sock");
    // A socket that was bound and closed stays.
    must(
      "python3",
      "-c",
      `import socket; socket.socket(socket.AF_UNIX).bind(${JSON.stringify(address)})`,
    );
    const services = Array.from(
      { length: 4 },
      () => new Process([...PROGRAM, ...at.words(address)]),
    );
    const ended = services.map(async (service) => ({ service, code: await service.ended() }));
    const losers: number[] = [];
    while (losers.length < 3) {
      const loser = await Promise.race(ended.filter((_, i) => !losers.includes(i)));
      assertEquals(loser.code, 5, loser.service.log);
      losers.push(services.indexOf(loser.service));
    }
    const [winner] = services.filter((_, i) => !losers.includes(i));
    await winner.said(/serving/);
    (await Deno.connect({ transport: "unix", path: address })).close();
    assertEquals(await winner.end(), 0);
  }
});

needs(lacking, "socket: a service that is about to listen counts as listening", () => {
  using at = place();
  const address = join(at.path, "v.sock"), lock = `${address}.lock`;
  const fd = open(lock, O_RDWR | O_CREAT, 0o600);
  assert(tryLock(fd, "exclusive"));
  assertMatch(at.refused("in use", address), /another service listens/);
  close(fd);
  assert(names(at.path).includes("v.sock.lock"), "nor is its lock removed");
});

needs(lacking, "socket: a file that is not a socket stays, and the service is refused", () => {
  using at = place();
  const address = join(at.path, "v.sock");
  Deno.writeTextFileSync(address, "mine");
  assertMatch(at.refused("already exists", address), /is not a socket/);
  assertEquals(Deno.readTextFileSync(address), "mine");
  const link = join(at.path, "link");
  Deno.symlinkSync(join(at.path, "elsewhere"), link);
  assertMatch(at.refused("already exists", link), /is not a socket/);
  assertEquals(Deno.readLinkSync(link), join(at.path, "elsewhere"));
  // A lock file that is a link is not followed.
  Deno.symlinkSync(join(at.path, "elsewhere"), join(at.path, "w.sock.lock"));
  at.refused("failed", join(at.path, "w.sock"));
  assert(!names(at.path).includes("elsewhere"));
});

needs(lacking, "socket: a refused service leaves no lock, and another program's file stays", () => {
  using at = place();
  const address = join(at.path, "v.sock"), lock = `${address}.lock`;
  Deno.writeTextFileSync(address, "file");
  at.refused("already exists", address);
  assertEquals(names(at.path).filter((name) => name.startsWith("v.sock")), ["v.sock"]);
  Deno.removeSync(address);
  Deno.writeTextFileSync(lock, "another program's");
  assertMatch(at.refused("already exists", address), /v\.sock\.lock is not a lock; move it/);
  assertEquals(Deno.readTextFileSync(lock), "another program's");
});

needs(lacking, "socket: it is refused in a directory where others could replace it", () => {
  using at = place();
  const make = (name: string, mode: number, uid = 0, gid = 0) => {
    const path = join(at.path, name);
    Deno.mkdirSync(join(path, "below"), { recursive: true });
    Deno.chownSync(path, uid, gid);
    Deno.chmodSync(path, mode);
    return path;
  };
  const unsafe = {
    "writable by all": make("all", 0o777),
    "sticky": make("sticky", 0o1777),
    "writable by a group": make("group", 0o770, 0, 1000),
    "another user's": make("user", 0o755, 1000),
  };
  for (const [what, path] of Object.entries(unsafe)) {
    const message = at.refused("failed precondition", join(path, "v.sock"));
    assert(message.startsWith(`${path} can be written to by others`), `${what}: ${message}`);
    assertEquals(names(path), ["below"], what);
    if (what === "sticky") continue;
    assert(at.refused("failed precondition", join(path, "below/v.sock")).startsWith(path), what);
  }
  // A link is judged by its target.
  Deno.symlinkSync(unsafe["writable by all"], join(at.path, "link"));
  at.refused("failed precondition", join(at.path, "link/v.sock"));
});

needs(
  lacking,
  "socket: it is allowed below a sticky directory, and in one of root's group",
  async () => {
    using at = place();
    const sticky = join(at.path, "sticky");
    Deno.mkdirSync(join(sticky, "own"), { recursive: true });
    Deno.chmodSync(sticky, 0o1777);
    Deno.chmodSync(join(sticky, "own"), 0o770);
    const service = new Process([...PROGRAM, ...at.words(join(sticky, "own/v.sock"))]);
    await service.said(/serving/);
    assertEquals(await service.end(), 0);
  },
);

needs(lacking, "socket: at the end, another program's socket in its place stays", async () => {
  using at = place();
  const address = join(at.path, "v.sock");
  const service = new Process([...PROGRAM, ...at.words(address)]);
  await service.said(/serving/);
  Deno.removeSync(address);
  Deno.writeTextFileSync(address, "another's");
  assertEquals(await service.end(), 0);
  assertEquals(Deno.readTextFileSync(address), "another's");
});

needs(lacking, "serve: a wrong command line is refused before anything is made", () => {
  using at = place();
  const root = join(at.path, "root");
  assertMatch(at.refused("invalid argument", "v.sock"), /absolute path/);
  assertMatch(at.refused("invalid argument", `${at.path}/`), /absolute path/);
  assertMatch(at.refused("invalid argument", join(at.path, "x".repeat(120))), /101 are allowed/);
  const bad = (code: ErrorCode, ...args: string[]) =>
    refusal(
      code,
      veneer("--root", root, ...args, "serve", "containerd", "--address", join(at.path, "v.sock")),
    );
  bad("usage", "--driver", "nonsense");
  bad("invalid argument", "--driver", "overlay2", "-o", "overlay2.nonsense=1");
  bad("invalid argument", "--driver", "overlay2", "--uidmap", "nonsense");
  for (const name of ["", "..", "a/b", "-x"]) {
    refusal("usage", veneer("--root", root, "serve", "containerd", `--name=${name}`));
  }
  refusal("usage", veneer("serve", "containerd", "--log-format", "xml"));
  refusal("usage", veneer("serve"));
  assert(!names(at.path).some((name) => name.startsWith("v.sock")), `${names(at.path)}`);
});

needs(
  lacking ?? lacksProgram("setpriv"),
  "serve: only root can",
  () => {
    const { code, stderr } = run(
      "setpriv",
      "--reuid=65534",
      "--clear-groups",
      ...PROGRAM,
      "serve",
      "containerd",
    );
    // If only root can read the checkout, the program cannot start, which is a refusal as well.
    if (code === 8) assertMatch(stderr, /must run as root/);
    else assert(code !== 0);
  },
);

needs(lacking, "serve: a socket in /run/veneer obstructs no other command", () => {
  using at = place();
  const address = `/run/veneer/case-${Deno.pid}.sock`;
  const store = ["--root", join(at.path, "root"), "--driver", "overlay2"];
  assertEquals(veneer(...store, "snapshot", "prepare", "key").code, 0);
  const listener = Deno.listen({ transport: "unix", path: address });
  try {
    const { code, stderr } = veneer(...store, "snapshot", "cleanup");
    assertEquals([code, stderr], [0, ""]);
    assert(Deno.lstatSync(address).isSocket);
  } finally {
    listener.close();
  }
});

needs(
  lacking,
  "serve: a root that others could write to, and links on the way to the store, are refused",
  () => {
    using at = place();
    const root = join(at.path, "root");
    Deno.mkdirSync(root, { mode: 0o711 });
    const serve = () =>
      refusal(
        "incompatible",
        veneer("--root", root, "serve", "containerd", "--address", join(at.path, "v.sock")),
      );
    Deno.chmodSync(root, 0o777);
    assertMatch(serve(), /chmod/);
    Deno.chmodSync(root, 0o711);
    Deno.mkdirSync(join(at.path, "elsewhere"));
    Deno.symlinkSync(join(at.path, "elsewhere"), join(root, "services"));
    assertMatch(serve(), /services is not a directory/);
    assertEquals(names(join(at.path, "elsewhere")), []);
    Deno.removeSync(join(root, "services"));
    Deno.mkdirSync(join(root, "services"));
    Deno.chmodSync(join(root, "services"), 0o1777);
    assertMatch(serve(), /services.*chmod/);
  },
);

needs(lacking, "serve: each name has its own store", async () => {
  await using service = await TestService.start();
  using at = place();
  const other = new Process([
    ...PROGRAM,
    ...["--root", service.root, "--driver", "overlay2", "serve", "containerd"],
    ...["--name", "second", "--address", join(at.path, "v.sock")],
  ]);
  await other.said(/serving/);
  assertEquals(names(join(service.root, "services")), ["second", "veneer"]);
  assertEquals(await other.end(), 0);
});

needs(lacking, "socket: another user's link is refused, and nothing is made behind it", () => {
  using at = place();
  const shared = join(at.path, "shared"), elsewhere = join(at.path, "elsewhere");
  for (const path of [shared, elsewhere]) Deno.mkdirSync(path);
  Deno.chmodSync(shared, 0o1777);
  const link = join(shared, "link");
  Deno.symlinkSync(elsewhere, link);
  lchown(link, 1000, 1000);
  for (const address of [join(link, "v.sock"), join(link, "a/b/v.sock")]) {
    const message = at.refused("failed precondition", address);
    assert(message.startsWith(`${link} is a symbolic link of user 1000`), message);
  }
  assertEquals(names(elsewhere), []);
  const theirs = join(at.path, "theirs");
  Deno.mkdirSync(theirs);
  Deno.chownSync(theirs, 1000, 1000);
  const message = at.refused("failed precondition", join(theirs, "a/b/v.sock"));
  assert(message.startsWith(`${theirs} can be written to by others`), message);
  assertEquals(names(theirs), []);
});
