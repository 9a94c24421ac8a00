/**
 * Where stores are: options, the environment, the configuration file, the defaults.
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { PROGRAM, refusal, veneer } from "../support/commands.ts";
import { lacksFileSystem, must, needs, type Ran, type TempDir, tempDir } from "../support/cases.ts";
import { storeDir } from "../support/store_dir.ts";

/** Runs the program with variables of the environment. */
function withVariables(variables: Record<string, string>, ...args: string[]): Ran {
  const words = Object.entries(variables).map(([name, value]) => `${name}=${value}`);
  const [program, ...first] = ["env", ...words, ...PROGRAM];
  const { code, stdout, stderr } = new Deno.Command(program, { args: [...first, ...args] })
    .outputSync();
  const text = new TextDecoder();
  return {
    code,
    success: code === 0,
    stdout: text.decode(stdout),
    stderr: text.decode(stderr),
  } as Ran;
}

function put(dir: TempDir, text: string, mode = 0o644): string {
  const path = `${dir.path}/config.toml`;
  Deno.writeTextFileSync(path, text);
  Deno.chmodSync(path, mode);
  return path;
}

type Shown = { name: string; values: string[]; from: string }[];
const shown = ({ stdout }: Ran): Shown => JSON.parse(stdout);

const FILE = `
root = "/srv/layers"
options = ["sync=filesystem", "workers=0"]

[stores.ci]
root = "/mnt/ci"
driver = "overlay2"
uidmap = ["0:100000:65536"]
`;

Deno.test("settings: an option wins over the environment, that over the file, that over defaults", () => {
  using dir = tempDir();
  const config = ["--config", put(dir, FILE), "--json", "config", "show"];
  const path = config[1];
  assertEquals(shown(veneer("--json", "config", "show", "--config", path)), [
    { name: "root", values: ["/srv/layers"], from: path },
    { name: "driver", values: ["auto"], from: "the default" },
    { name: "option", values: ["sync=filesystem", "workers=0"], from: path },
    { name: "uidmap", values: [], from: "the default" },
    { name: "gidmap", values: [], from: "the default" },
  ]);
  const ci = shown(withVariables({ VENEER_STORE: "ci", VENEER_DRIVER: "btrfs" }, ...config));
  assertEquals(ci.map(({ values, from }) => [...values, from]), [
    ["/mnt/ci", `${path}, [stores.ci]`],
    ["btrfs", "VENEER_DRIVER"],
    ["sync=filesystem", "workers=0", path],
    ["0:100000:65536", `${path}, [stores.ci]`],
    ["the default"],
  ]);
  const given = ["--root", "/given", "-o", "workers=1", "--store", "ci"];
  const all = shown(withVariables({ VENEER_ROOT: "/variable" }, ...given, ...config));
  assertEquals(all[0], { name: "root", values: ["/given"], from: "--root" });
  // Options of all sources count, and the last of a key.
  assertEquals(all[2], {
    name: "option",
    values: ["sync=filesystem", "workers=0", "workers=1"],
    from: `--option, ${path}`,
  });
  const variable = shown(withVariables({ VENEER_ROOT: "/variable", VENEER_STORE: "" }, ...config));
  assertEquals(variable[0], { name: "root", values: ["/variable"], from: "VENEER_ROOT" });
  const table = veneer("--config", path, "config", "show").stdout;
  assertMatch(table, /^SETTING +VALUE +FROM\nroot +\/srv\/layers +\/.*\n/);
});

needs(
  lacksFileSystem("overlay"),
  "settings: commands use them, and all commands of a shell the same",
  () => {
    using dir = storeDir();
    using elsewhere = tempDir();
    const root = `${dir.path}/root`;
    const path = put(elsewhere, `[stores.here]\nroot = "${root}"\ndriver = "overlay2"\n`);
    const created = withVariables({ VENEER_STORE: "here" }, "--config", path, "create", "app");
    assertEquals([created.code, created.stderr], [0, ""]);
    assertEquals(withVariables({ VENEER_ROOT: root }, "ls", "--quiet").stdout, "app\n");
    const mounted = withVariables({ VENEER_ROOT: root }, "mount", "app");
    assertStringIncludes(mounted.stdout, root);
    assertEquals(withVariables({ VENEER_ROOT: root }, "umount", "app").code, 0);
    assertEquals(withVariables({ VENEER_ROOT: root }, "cleanup").code, 0);
  },
);

Deno.test("settings: what is wrong with a file is said, with its line", () => {
  using dir = tempDir();
  const says = (text: string, mode?: number) =>
    refusal(
      mode === undefined ? "invalid argument" : "incompatible",
      veneer("config", "show", "--config", put(dir, text, mode)),
    ).replaceAll(dir.path, "");
  assertEquals(
    says('root = "/a"\nrot = "/b"\n'),
    '/config.toml, line 2: unknown key "rot"; did you mean root?',
  );
  assertEquals(
    says('[stores.a]\nroot = "/a"\n[stores.b]\nsize = 1\n'),
    '/config.toml, line 4: unknown key "size"; there are root, driver, options, uidmap, gidmap',
  );
  assertMatch(says("root = 7\n"), /line 1: root must be a text$/);
  assertMatch(says('root = "a/b"\n'), /line 1: root must begin with \/$/);
  assertMatch(says('driver = "overlay"\n'), /line 1: driver "overlay": did you mean overlay2\?$/);
  assertMatch(says('options = "sync"\n'), /line 1: options must be a list of texts, such as /);
  assertMatch(says("stores = 1\n"), /line 1: stores is not a table$/);
  assertMatch(says('root = "/a"\nroot =\n'), /^\/config\.toml, line 2: /);
  assertMatch(says("root = \n".repeat(1)), /line 1: /);
  assertMatch(says('root = "/a"\n', 0o666), /can be written to by everyone, .*`chmod go-w /);
  put(dir, 'root = "/a"\n');
  must("chown", "1000", `${dir.path}/config.toml`);
  const foreign = veneer("config", "show", "--config", `${dir.path}/config.toml`);
  assertStringIncludes(refusal("incompatible", foreign), "belongs to user 1000");
  must("chown", "0", `${dir.path}/config.toml`);
  refusal("incompatible", veneer("config", "show", "--config", dir.path));
  const large = put(dir, `root = "/${"a".repeat(1 << 20)}"\n`);
  assertMatch(
    refusal("invalid argument", veneer("config", "show", "--config", large)),
    /has more than 1 MiB/,
  );
});

Deno.test("settings: a file or a store that is missing is one line", () => {
  using dir = tempDir();
  const missing = `${dir.path}/none.toml`;
  assertEquals(
    refusal("not found", veneer("ls", "--config", missing)),
    `the configuration file ${missing} is missing`,
  );
  const path = put(dir, FILE);
  assertEquals(
    refusal("not found", veneer("ls", "--config", path, "--store", "cy")),
    `${path} has no store "cy"; there is only ci`,
  );
  // help, completions and the version need no file.
  assert(veneer("help", "--config", missing).success);
  assert(veneer("--version", "--config", missing).success);
});
