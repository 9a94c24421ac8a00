/**
 * What bad input gets: one line, a status of its kind, and a store as it was.
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { PROGRAM, refusal, TestStore, veneer } from "../support/commands.ts";
import { isThere } from "../support/files.ts";
import { lacksFileSystem, lacksProgram, needs, run } from "../support/cases.ts";

const lacking = lacksFileSystem("overlay");

/** A store with a layer `base` and a child `app`. */
function sample(): TestStore {
  const store = new TestStore();
  store.must("create", "base");
  store.must("apply", "base", store.tar("base.tar", { "etc/hosts": "localhost\n" }));
  store.must("create", "app", "--parent", "base");
  return store;
}

needs(lacking, "refused: an unknown id or parent", () => {
  using store = sample();
  const unknown = `layer gone does not exist; ${store.hint("ls")} lists those that do`;
  for (const command of ["mount", "umount", "inspect", "changes", "diffsize", "diff", "rm"]) {
    assertEquals(store.refused("not found", command, "gone"), unknown);
  }
  assertEquals(store.refused("not found", "apply", "gone", store.path("base.tar")), unknown);
  assertEquals(store.refused("not found", "create", "x", "--parent", "gone"), unknown);
  assertEquals(store.refused("not found", "changes", "app", "--parent", "gone"), unknown);
});

needs(lacking, "refused: an empty parent of a new layer, as of a variable that is not set", () => {
  using store = sample();
  assertEquals(
    store.refused("usage", "create", "x", "--parent", ""),
    'option --parent "": name a layer, or leave --parent out for a base layer',
  );
  store.refused("not found", "inspect", "x");
});

needs(lacking, "inspect has the state that ls has", () => {
  using store = sample();
  const states = () => [
    /^State: +(\S+)$/m.exec(store.must("inspect", "app"))![1],
    /^app +base +(\S+)/m.exec(store.must("ls"))![1],
  ];
  assertEquals(states(), ["ready", "ready"]);
  store.must("mount", "app");
  assertEquals(states(), ["mounted", "mounted"]);
  store.must("umount", "app");
});

needs(lacking, "refused: an existing id", () => {
  using store = sample();
  assertMatch(store.refused("already exists", "create", "app"), /^layer app exists;/);
});

needs(lacking, "refused: a bad id", () => {
  using store = sample();
  for (const id of ["../x", ".hidden", "a b", "", "l", "ü"]) {
    assertMatch(store.refused("invalid argument", "create", id), /^layer id /, JSON.stringify(id));
  }
  assertMatch(
    store.refused("invalid argument", "create", "x".repeat(201)),
    /it has 201 characters/,
  );
  assertMatch(store.refused("invalid argument", "create", "--", "-x"), /^layer id "-x"/);
  for (const command of ["mount", "rm", "inspect", "exists"]) {
    assertMatch(
      store.refused("invalid argument", command, "a/../b"),
      /^layer id "a\/..\/b": it must be/,
    );
  }
});

needs(lacking, "refused: a prefix that several ids begin with", () => {
  using store = sample();
  store.must("create", "apt");
  assertEquals(
    store.refused("invalid argument", "changes", "ap"),
    "layer id ap: it could be app, apt; write more of it",
  );
});

needs(
  lacking ??
    (/\tselinuxfs$/m.test(Deno.readTextFileSync("/proc/filesystems"))
      ? "SELinux is on"
      : undefined),
  "refused: a mount label without SELinux",
  () => {
    using store = sample();
    const reason =
      "cannot have the mount label a:b: SELinux is off in this kernel; leave the label out";
    for (const api of ["new", "old"]) {
      const options = ["-o", `overlay2.mount_api=${api}`];
      const label = ["--mount-label", "a:b"];
      assertEquals(
        store.refused("not supported", ...options, "mount", "app", ...label),
        `layer app ${reason}`,
      );
      assertEquals(
        store.refused("not supported", ...options, "create", "x", "--parent", "base", ...label),
        `layer x ${reason}`,
      );
    }
  },
);

needs(lacking, "refused: a bad size or storage option", () => {
  using store = sample();
  const create = (option: string) =>
    store.refused("invalid argument", "create", "x", "--read-write", "--storage-opt", option);
  assertMatch(create("size=ten"), /^size "ten": a size is a number and a unit/);
  assertMatch(create("size=-1G"), /^size "-1G"/);
  assertMatch(create("sise=1G"), /did you mean size\?/);
  assertMatch(create("size"), /write it as KEY=VALUE/);
  assertMatch(
    store.refused("invalid argument", "-o", "overlay2.size=big", "ls"),
    /^overlay2.size "big": a size is/,
  );
});

needs(lacking, "refused: an unknown option, with the nearest known one", () => {
  using store = sample();
  assertMatch(
    store.refused("invalid argument", "-o", "overlay2.sise=1G", "ls"),
    /did you mean overlay2\.size\?/,
  );
  assertMatch(store.refused("invalid argument", "-o", "size", "ls"), /write it as KEY=VALUE/);
  assertMatch(store.refused("usage", "create", "x", "--parnet", "base"), /did you mean --parent\?/);
  assertMatch(store.refused("usage", "crate", "x"), /did you mean create\?/);
  assertMatch(store.refused("usage", "--driver", "overlay", "ls"), /did you mean overlay2\?/);
  assertMatch(store.refused("usage", "--root=", "ls"), /name a directory/);
});

needs(lacking, "refused: a bad id map", () => {
  using store = sample();
  assertMatch(
    store.refused("invalid argument", "--uidmap", "0:1", "ls"),
    /^id map "0:1": it must be CONTAINER:HOST:SIZE/,
  );
});

needs(lacking, "refused: what is in use", () => {
  using store = sample();
  assertMatch(
    store.refused("in use", "rm", "base"),
    /^layer base has children: app; remove them first$/,
  );
  assertMatch(
    store.refused("in use", "apply", "base", store.path("base.tar")),
    /^layer base has a child, app/,
  );
  const path = store.must("mount", "app").trimEnd();
  const mounted = store.run("rm", "app");
  assertEquals(
    refusal("in use", mounted),
    `layer app is mounted at ${path} (1 use); ${store.hint("umount", "app")} first`,
  );
  assertMatch(
    refusal("in use", store.run("apply", "app", store.path("base.tar"))),
    /^layer app is mounted/,
  );
  store.must("umount", "app");
});

needs(lacking, "refused: what is no tar, before the layer is touched", () => {
  using store = sample();
  const file = store.path("no.tar");
  Deno.writeTextFileSync(file, "this is not a tar\n".repeat(1000));
  store.refused("invalid argument", "apply", "app", file);
  const tar = Deno.readFileSync(store.path("base.tar"));
  tar[150] ^= 1; // In the first header's checksum, bytes 148 to 155.
  Deno.writeFileSync(file, tar);
  assertMatch(
    store.refused("invalid argument", "apply", "app", file),
    /the input is not a tar archive/,
  );
  assertMatch(
    store.refused("invalid argument", "apply", "app", store.root),
    /is a directory; name a tar$/,
  );
  assertMatch(
    store.refused("failed", "apply", "app", store.path("missing")),
    /missing: no such file/,
  );
  assertEquals(store.must("changes", "app"), "");
});

needs(
  lacking,
  "refused: a docker archive and an OCI layout, but not layers that look alike",
  () => {
    using store = sample();
    const hex = "0123456789abcdef".repeat(4);
    const archives: [RegExp, Record<string, string>][] = [
      [/is a docker archive, a whole image: /, {
        [`${hex}/layer.tar`]: "tar",
        [`${hex}.json`]: "{}",
        "manifest.json": "[]",
      }],
      [/is an OCI layout, a whole image: /, {
        [`blobs/sha256/${hex}`]: "x".repeat(1000),
        "index.json": "{}",
        "oci-layout": "{}",
      }],
    ];
    for (const [i, [message, files]] of archives.entries()) {
      const tar = store.tar(`image${i}.tar`, files);
      assertMatch(store.refused("invalid argument", "apply", "app", tar), message);
      store.must("apply", "app", store.tar(`other${i}.tar`, { ...files, "etc/hosts": "" }));
    }
    store.must("apply", "app", store.tar("one.tar", { "manifest.json": "[]" }));
  },
);

needs(lacking, "refused: an input that is no tar changes no layer, complete or not", () => {
  using store = sample();
  const paths = { empty: "nothing.tar", text: "text.tar", xz: "some.tar.xz" };
  const [empty, text, xz] = Object.values(paths).map((name) => store.path(name));
  Deno.writeFileSync(empty, new Uint8Array());
  Deno.writeTextFileSync(text, "no tar\n".repeat(1000));
  Deno.writeFileSync(xz, new Uint8Array([0xfd, ...new TextEncoder().encode("7zXZ\0".padEnd(600))]));
  // An incomplete layer that has something: what was there before the apply that failed is not thrown away.
  store.must("create", "half", "--parent", "base");
  Deno.writeTextFileSync(join(store.must("mount", "half").trimEnd(), "kept"), "kept");
  store.must("umount", "half");
  const cut = store.path("cut.tar");
  Deno.writeFileSync(cut, Deno.readFileSync(store.path("base.tar")).subarray(0, 1124));
  store.run("apply", "half", cut);
  const states = () =>
    store.json<{ id: string; incomplete: boolean }[]>("ls").map(({ id, incomplete }) => [
      id,
      incomplete,
    ]);
  assertEquals(states(), [["app", false], ["base", false], ["half", true]]);
  for (const id of ["app", "half"]) {
    assertStringIncludes(
      store.refused("invalid argument", "apply", id, empty),
      `${empty}: the input is empty`,
    );
    assertStringIncludes(
      store.refused("invalid argument", "apply", id, text),
      `${text}: the input is not a tar archive`,
    );
    assertStringIncludes(
      store.refused("not supported", "apply", id, xz),
      `${xz}: the input is compressed with xz`,
    );
    assertStringIncludes(store.refused("invalid argument", "apply", id, "/dev/null"), "is empty");
    const before = store.snapshot();
    const piped = store.shell(`set +o pipefail; false | veneer apply ${id}`);
    assertMatch(refusal("invalid argument", piped), /^tar: the input is empty: .* failed$/);
    assertEquals(store.snapshot(), before);
  }
  assertEquals(states(), [["app", false], ["base", false], ["half", true]]);
  const marker = store.path("marker.tar");
  Deno.writeFileSync(marker, new Uint8Array(10240));
  assertEquals(store.must("apply", "half", marker), "0\n");
  assertEquals(store.must("changes", "half"), "");
});

needs(
  lacking,
  "refused: a tar that is cut short or broken midway leaves an empty, incomplete layer",
  () => {
    using store = sample();
    const tar = Deno.readFileSync(
      store.tar("big.tar", { "a": "x".repeat(5000), "b": "y".repeat(5000) }),
    );
    const cut = store.path("cut.tar"), broken = store.path("broken.tar");
    Deno.writeFileSync(cut, tar.subarray(0, 4096));
    // Flips a digit of the checksum of the last entry's header.
    const header = new TextDecoder("latin1").decode(tar).lastIndexOf("ustar") - 257;
    tar[header + 150] ^= 1;
    Deno.writeFileSync(broken, tar);
    for (const [id, file] of [["cut", cut], ["broken", broken]]) {
      store.must("create", id, "--parent", "base");
      const message = refusal("invalid argument", store.run("apply", id, file));
      assertMatch(message, id === "cut" ? /ends|cut short/ : /checksum/);
      assertStringIncludes(message, `layer ${id} is incomplete: apply again or remove it`);
      const [layer] = store.json<{ id: string; incomplete: boolean }[]>("ls").filter((layer) =>
        layer.id === id
      );
      assertEquals(layer.incomplete, true);
      assertEquals([...Deno.readDirSync(join(store.root, "overlay2", id, "diff"))], []);
      for (
        const args of [["mount", id], ["changes", id], ["diff", id], [
          "create",
          "x",
          "--parent",
          id,
        ]]
      ) {
        assertMatch(store.refused("failed precondition", ...args), /is incomplete/);
      }
      assertEquals(store.must("apply", id, store.path("big.tar")), "10000\n");
      assertEquals(store.must("diffsize", id), "10000\n");
    }
    store.must("create", "gone");
    store.run("apply", "gone", cut);
    store.must("rm", "gone");
  },
);

needs(lacking, "refused: a tar to a terminal's place, a directory for its file", () => {
  using store = sample();
  assertMatch(
    store.refused("invalid argument", "diff", "app", "-o", store.root),
    /is a directory; name a file$/,
  );
  assertMatch(
    store.refused("failed", "diff", "app", "-o", store.path("no/such/x.tar")),
    /no such file or directory/,
  );
});

needs(lacking, "refused: a store of another driver", () => {
  using store = sample();
  const other = new TestStore();
  using _other = other;
  Deno.mkdirSync(join(other.root, "btrfs/subvolumes/abc"), { recursive: true });
  assertMatch(
    other.refused("incompatible", "--driver", "overlay2", "create", "x"),
    /has a store of btrfs, not of overlay2; use --driver btrfs or another --root$/,
  );
  Deno.mkdirSync(join(store.root, "btrfs/subvolumes/abc"), { recursive: true });
  assertMatch(
    store.refused("incompatible", "ls"),
    /has stores of overlay2 and btrfs; choose one with --driver$/,
  );
  store.must("--driver", "overlay2", "ls");
});

needs(lacking, "refused: what reads or changes a store makes none", () => {
  using store = sample();
  const typo = `${store.root}-typo/deep`;
  const commands = [
    ["ls"],
    ["tree"],
    ["status"],
    ["inspect", "x"],
    ["changes", "x"],
    ["diff", "x", "-o", store.path("x.tar")],
    ["diffsize", "x"],
    ["apply", "x", store.path("base.tar")],
    ["mount", "x"],
    ["umount", "x"],
    ["rm", "x"],
    ["cleanup"],
  ];
  for (const command of commands) {
    assertEquals(
      refusal("not found", veneer("--root", typo, ...command)),
      `there is no store of layers at ${typo}; \`veneer --root ${typo} create ID\` makes one, or use ` +
        "another --root",
    );
  }
  for (const command of [["ls"], ["tree"], ["usage"], ["stat", "x"], ["mount", "x"], ["cleanup"]]) {
    assertStringIncludes(
      refusal("not found", veneer("--root", typo, "snapshot", ...command)),
      `there is no store of snapshots at ${typo}; \`veneer --root ${typo} snapshot prepare KEY\` makes one`,
    );
  }
  for (const command of [["ls"], ["inspect", "x"], ["rm", "x"], ["mount", "x", "y"]]) {
    assertStringIncludes(
      refusal("not found", veneer("--root", typo, "image", ...command)),
      `there is no store of snapshots at ${typo}; \`veneer --root ${typo} image import FILE\` makes one`,
    );
  }
  const { code, stdout, stderr } = veneer("--root", typo, "exists", "x");
  assertEquals([code, stdout, stderr], [3, "", ""]);
  assert(!isThere(`${store.root}-typo`));
  refusal("not found", veneer("--root", typo, "create", "x", "--parent", "y"));
  assert(!isThere(`${typo}/overlay2/x`));
  // A driver's own directory, as `status` prints it.
  assertEquals(
    refusal("not found", veneer("--root", `${store.root}/overlay2`, "ls")),
    `there is no store of layers at ${store.root}/overlay2: it is a driver's own directory; use --root ` +
      store.root,
  );
  assertMatch(
    refusal("not found", store.run("snapshot", "ls")),
    /^there is no store of snapshots at .*, only one of layers; /,
  );
});

needs(lacking, "refused: a root that is a file", () => {
  using store = sample();
  const file = store.path("base.tar");
  const message = refusal("invalid argument", veneer("--root", file, "ls"));
  assertEquals(message, `${file} is not a directory; name one by --root`);
});

needs(lacking, "refused: with --json as an object on one line", () => {
  using store = sample();
  const { code, stdout, stderr } = store.run("mount", "gone", "--json");
  assertEquals([code, stdout, stderr.split("\n").length], [3, "", 2]);
  assertEquals(JSON.parse(stderr), {
    error: {
      code: "not found",
      message: `layer gone does not exist; ${store.hint("ls")} lists those that do`,
      exit: 3,
    },
  });
  assertEquals(JSON.parse(store.run("--json", "lst").stderr).error.code, "usage");
});

needs(lacking, "a stack is shown with --log-level debug only", () => {
  using store = sample();
  assertMatch(
    store.run("--log-level", "debug", "mount", "gone").stderr,
    /^veneer: .*\n(.*\n)* +at /,
  );
});

needs(lacking ?? lacksProgram("unshare"), "refused: not root", () => {
  using store = sample();
  // In a user namespace that maps nobody: this user's id is the overflow id, and root's files can be read.
  const as = (...args: string[]) => run("unshare", "--user", ...PROGRAM, ...args);
  const before = store.snapshot();
  for (
    const command of [["ls"], ["create", "x"], ["mount", "app"], ["cleanup"], ["snapshot", "ls"]]
  ) {
    assertEquals(
      refusal("failed precondition", as(...store.options, ...command)),
      "veneer must run as root, and this user's id is 65534: layers keep owners and are mounted; use sudo",
    );
  }
  assertEquals(store.snapshot(), before);
  for (
    const command of [["--version"], ["--help"], ["version"], ["completions", "bash"], [
      "snapshot",
      "--help",
    ]]
  ) {
    assertEquals(as(...command).code, 0, command.join(" "));
  }
});
