/**
 * Printed configuration, as its readers take it: TOML by Python's reader, JSON, and the unit's words. Engines are run
 * with it by `make test-engines`.
 */
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { must, run } from "../support/cases.ts";
import { PROGRAM, refusal, veneer } from "../support/commands.ts";

/** What a command prints. */
function printed(...args: string[]): string {
  const { code, stdout, stderr } = veneer(...args);
  assertEquals({ code, stderr }, { code: 0, stderr: "" });
  return stdout;
}

/** TOML as JSON has it, read by Python. */
function readToml(text: string): unknown {
  return JSON.parse(
    must(
      "python3",
      "-c",
      "import sys, tomllib, json; print(json.dumps(tomllib.loads(sys.argv[1])))",
      text,
    ),
  );
}

const ARCHITECTURE = Deno.build.arch === "x86_64" ? "amd64" : "arm64";

Deno.test("veneer config containerd: each release gets what it knows", () => {
  const plugin = { type: "snapshot", address: "/run/veneer/containerd.sock" };
  const exports = { root: "/var/lib/veneer/services/veneer" };
  const cri = { "io.containerd.grpc.v1.cri": { containerd: { snapshotter: "veneer" } } };
  assertEquals(readToml(printed("config", "containerd", "--for", "1.6")), {
    version: 2,
    proxy_plugins: { veneer: plugin },
    plugins: cri,
  });
  assertEquals(readToml(printed("config", "containerd", "--for=1.7")), {
    version: 2,
    proxy_plugins: { veneer: { ...plugin, exports } },
    plugins: cri,
  });
  const platform = `linux/${ARCHITECTURE}`;
  assertEquals(readToml(printed("config", "containerd", "--for", "2.x")), {
    version: 3,
    proxy_plugins: { veneer: { ...plugin, exports } },
    plugins: {
      "io.containerd.cri.v1.images": { snapshotter: "veneer" },
      "io.containerd.transfer.v1.local": {
        unpack_config: [
          { platform, snapshotter: "veneer", differ: "walking" },
          { platform, snapshotter: "overlayfs", differ: "walking" },
        ],
      },
    },
  });
});

Deno.test("veneer config containerd: capabilities are those that the driver is known to have", () => {
  const capabilities = (...options: string[]) => {
    const text = printed(...options, "config", "containerd", "--for", "2.x");
    const { proxy_plugins } = readToml(text) as Record<
      string,
      Record<string, { capabilities?: string[] }>
    >;
    return proxy_plugins.veneer.capabilities;
  };
  assertEquals(capabilities("--driver", "overlay2"), ["rebase"]);
  assertEquals(capabilities("--driver", "btrfs"), undefined);
  const remap = ["-o", "snapshot.remap=true"];
  assertEquals(capabilities("--driver", "overlay2", ...remap), ["rebase", "remap-ids"]);
  assertEquals(capabilities(...remap), ["remap-ids"]);
  assertEquals(capabilities("-o", "snapshot.remap=false"), undefined);
});

Deno.test("veneer config containerd: ids are remapped only where containerd and the driver can", () => {
  const refused = (release: string, ...words: string[]) => {
    const command = [...words, "config", "containerd", "--for", release];
    return refusal("usage", veneer("-o", "snapshot.remap=true", ...command));
  };
  assertMatch(refused("2.x", "--driver", "btrfs"), /btrfs has no mounts that containerd can map/);
  for (const release of ["1.6", "1.7"]) {
    assertMatch(refused(release), new RegExp(`containerd ${release} cannot mount with ids`));
  }
});

Deno.test("veneer config containerd: names and paths of any characters stay what they are", () => {
  const root = '/a "quoted" \\ dir';
  const text = printed("--root", root, "config", "containerd", "--for", "2.x", "--name", "a.b");
  const { proxy_plugins } = readToml(text) as {
    proxy_plugins: Record<string, { exports: { root: string } }>;
  };
  assertEquals(proxy_plugins["a.b"].exports.root, `${root}/services/a.b`);
});

Deno.test("veneer config containerd: without --for it is for the containerd that is installed", () => {
  const directory = Deno.makeTempDirSync();
  try {
    const install = (words: string) => {
      Deno.writeTextFileSync(`${directory}/containerd`, `#!/bin/sh\necho '${words}'\n`, {
        mode: 0o755,
      });
      const [program, ...args] = [...PROGRAM, "config", "containerd"];
      return run("env", `PATH=${directory}:/usr/bin:/bin`, program, ...args);
    };
    for (
      const [version, expected] of [["1.6.20~ds1", 2], ["v1.7.24", 2], ["v2.1.9", 3], ["3.0.0", 3]]
    ) {
      const { stdout } = install(`containerd github.com/containerd/containerd ${version} abc`);
      assertStringIncludes(stdout, `version = ${expected}\n`, `${version}`);
    }
    assertEquals(
      refusal("not supported", install("containerd x 1.4.3 abc")),
      'containerd --version prints "containerd x 1.4.3 abc", which is not a known release; ' +
        "say which with --for 1.6, 1.7, 2.x",
    );
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});

Deno.test("veneer config docker, buildkit: what they read", () => {
  assertEquals(JSON.parse(printed("config", "docker", "--for", "28+", "--name", "v")), {
    features: { "containerd-snapshotter": true },
    "storage-driver": "v",
  });
  const plugin = { experimental: true, "storage-driver": "veneer" };
  assertEquals(JSON.parse(printed("config", "docker", "--for", "20.10-26")), plugin);
  const { stdout, stderr } = veneer("config", "docker", "--for", "27");
  assertEquals(JSON.parse(stdout), plugin);
  assertStringIncludes(stderr, "DOCKERD_DEPRECATED_GRAPHDRIVER_PLUGINS=1");
  assertEquals(readToml(printed("config", "buildkit")), {
    worker: {
      oci: {
        enabled: true,
        snapshotter: "buildkit",
        proxySnapshotterPath: "/run/veneer/buildkit.sock",
      },
      containerd: { enabled: false },
    },
  });
});

Deno.test("veneer config systemd: the unit starts the service with the options that were given", () => {
  const given = ["--root", "/da ta", "-o", "a=50%$x", "config", "systemd", "--name", "x"];
  const text = printed(...given);
  const line = text.match(/^ExecStart=(.*)$/m)?.[1];
  assertMatch(line!, /^\/\S+ "--root=\/da ta" --option=a=50%%\$\$x serve containerd --name=x$/);
  for (const setting of ["Type=notify", "PrivateMounts=no", "KillMode=mixed"]) {
    assertStringIncludes(text, `${setting}\n`);
  }
  assertEquals(text.includes("RuntimeDirectory"), false);
  assertStringIncludes(text, "Before=containerd.service ");
});

Deno.test("veneer config systemd: the unit of Docker's service leaves the store to dockerd", () => {
  const text = printed("--root=/x", "--driver=btrfs", "config", "systemd", "--for", "docker");
  assertMatch(text, /^ExecStart=\S+ --driver=btrfs serve docker$/m);
  assertMatch(text, /^Before=docker\.service$/m);
});

Deno.test("veneer config docker: without --for it is for the dockerd that is installed", () => {
  const directory = Deno.makeTempDirSync();
  try {
    for (
      const [version, expected] of [
        ["20.10.24+dfsg1", "experimental"],
        ["26.1.5", "experimental"],
        ["28.5.2+dfsg4", "features"],
      ]
    ) {
      const script = `#!/bin/sh\necho 'Docker version ${version}, build abc'\n`;
      Deno.writeTextFileSync(`${directory}/dockerd`, script, { mode: 0o755 });
      const [program, ...args] = [...PROGRAM, "config", "docker"];
      const { stdout } = run("env", `PATH=${directory}:/usr/bin:/bin`, program, ...args);
      assertEquals(Object.keys(JSON.parse(stdout)), [expected, "storage-driver"], version);
    }
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
});

Deno.test("veneer config: what cannot be a service's is refused", () => {
  for (
    const [args, message] of [
      [
        ["--address", "x.sock"],
        'option --address "x.sock": a configuration needs an absolute path',
      ],
      [["--root", "store"], 'option --root "store": a configuration needs an absolute path'],
    ] as const
  ) {
    assertEquals(refusal("usage", veneer("config", "systemd", ...args)), message);
  }
  assertStringIncludes(
    refusal("usage", veneer("config", "docker", "--for", "27", "--name", "a/b")),
    'option --name "a/b"',
  );
});
