/** What somebody put into a store or beside its state: commands as a user runs them. */
import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { EXIT_STATUS } from "../../lib/cli/exit_status.ts";
import { PROGRAM, shellWords, TestStore } from "../support/commands.ts";
import { runState } from "../support/store_dir.ts";
import { lacksFileSystem, lacksProgram, must, needs, run } from "../support/cases.ts";
import { Victim } from "../support/victim.ts";

const lacking = lacksFileSystem("overlay");

needs(lacking, "hostile store: what a link of a user's leads to is not deleted by `ls`", () => {
  using store = new TestStore("--driver", "overlay2");
  const victim = new Victim(store.path("victim"));
  Deno.mkdirSync(`${store.root}/overlay2/.veneer`, { recursive: true });
  Deno.symlinkSync(victim.path, `${store.root}/overlay2/.veneer/staging`);
  must("chown", "-hR", "65534", store.root);
  // Each directory that is given back, one more is looked at; at last the link alone is left.
  const paths = [store.root, `${store.root}/overlay2`, `${store.root}/overlay2/.veneer`];
  for (const path of paths) {
    const { code, stdout, stderr } = store.run("ls");
    assertEquals([code, stdout], [EXIT_STATUS["incompatible"], ""], stderr);
    assert(stderr.startsWith(`veneer: ${path} belongs to user 65534`), stderr);
    victim.assertUntouched();
    must("sh", "-c", /`([^`]+)`/.exec(stderr)![1]);
  }
  const { code, stderr } = store.run("ls");
  assertEquals(code, 0, stderr);
  assert(stderr.includes("staging was not a directory"), stderr);
  victim.assertUntouched();
  store.must("create", "a");
  store.must("rm", "a");
  victim.assertUntouched();
});

needs(lacking, "hostile store: `snapshot cleanup` goes on where its mounts are a link", () => {
  using store = new TestStore("--driver", "overlay2");
  const victim = new Victim(store.path("victim"));
  store.must("snapshot", "prepare", "key");
  const mounts = `${store.root}/snapshots/overlay2/mounts`;
  Deno.symlinkSync(victim.path, mounts);
  const { code, stderr } = store.run("snapshot", "cleanup");
  assertEquals(code, EXIT_STATUS["corrupt store"], stderr);
  assert(stderr.includes(`${mounts} is a symbolic link`), stderr);
  const mounted = store.run("snapshot", "mount", "key");
  assertEquals(mounted.code, EXIT_STATUS["corrupt store"], mounted.stderr);
  victim.assertUntouched();
});

needs(lacking, "hostile store: what else lies in /run/veneer is left alone", () => {
  using store = new TestStore("--driver", "overlay2");
  store.must("create", "a");
  const device = "4095.1048575";
  const plants: [string, (path: string) => void][] = [
    ["zz-file", (path) => Deno.writeTextFileSync(path, "")],
    ["zz-directory", (path) => Deno.mkdirSync(path)],
    ["zz.sock", (path) => must("mkfifo", path)],
    [`${device}-1`, (path) => Deno.writeTextFileSync(path, "")],
    [`${device}-2`, (path) => Deno.mkdirSync(path)],
    [`${device}-3`, (path) => Deno.symlinkSync("/etc", path)],
  ];
  const paths = plants.map(([name]) => `/run/veneer/${name}`);
  const damaged = `/run/veneer/${device}-4`;
  try {
    for (const [name, plant] of plants) plant(`/run/veneer/${name}`);
    store.must("cleanup");
    for (const path of paths) Deno.lstatSync(path);
    for (const kind of ["mkdir", "mkfifo"]) {
      Deno.mkdirSync(damaged);
      must(kind, `${damaged}/birth`);
      const { code, stderr } = store.run("cleanup");
      assertEquals(code, 0, stderr);
      assertEquals(stderr.split("\n").length, 2, stderr);
      assert(stderr.startsWith(`veneer: warning: ${damaged} is not removed: `), stderr);
      Deno.removeSync(damaged, { recursive: true });
    }
    store.must("ls");
  } finally {
    for (const path of [...paths, damaged]) run("rm", "-rf", path);
  }
});

needs(
  lacking,
  "hostile store: state of a home that is gone goes, though other state is odd",
  () => {
    using store = new TestStore("--driver", "overlay2");
    using gone = new TestStore("--driver", "overlay2");
    store.must("create", "a");
    gone.must("create", "a");
    const state = runState(`${gone.root}/overlay2`);
    must("rm", "-rf", gone.root);
    const odd = "/run/veneer/0.1-1";
    Deno.mkdirSync(`${odd}/birth`, { recursive: true });
    try {
      assertEquals(store.run("cleanup").code, 0);
      assertEquals(run("test", "-e", state).code, 1);
    } finally {
      Deno.removeSync(odd, { recursive: true });
    }
  },
);

needs(
  lacking ?? lacksProgram("unshare"),
  "hostile store: a /run/veneer that others could write to is refused",
  () => {
    using store = new TestStore("--driver", "overlay2");
    store.must("create", "a");
    const program = shellWords([...PROGRAM, ...store.options, "ls", "-q"]);
    const inside = (options: string, then: string) =>
      run(
        "unshare",
        ...["--mount", "--propagation", "private", "sh", "-c"],
        `mount -t tmpfs -o ${options} tmpfs /run/veneer && ${then}`,
      );
    for (const options of ["mode=1777", "mode=0702", "mode=0711,uid=65534", "mode=0770,gid=12"]) {
      const { code, stderr } = inside(options, program);
      assertEquals(code, EXIT_STATUS["incompatible"], stderr);
      assert(stderr.startsWith("veneer: /run/veneer "), stderr);
      const remedy = /`([^`]+)`/.exec(stderr)![1];
      assertEquals(inside(options, `${remedy} && ${program}`).stdout, "a\n");
    }
  },
);

Deno.test("hostile store: only roots are reached by whole paths", () => {
  const top = new URL("../..", import.meta.url).pathname;
  const drivers = [...Deno.readDirSync(join(top, "drivers"))].filter((entry) => entry.isDirectory)
    .flatMap(({ name }) =>
      [...Deno.readDirSync(join(top, "drivers", name))].map((file) =>
        `drivers/${name}/${file.name}`
      )
    );
  const modules = [
    ...drivers.filter((path) =>
      /\/(backend|layout|layer_directories|legacy|records|snapshots(_layout|_seed)?|subvolumes|volatile)\.ts$/
        .test(path)
    ),
    "drivers/union/layer_root.ts",
    "lib/store/metadata.ts",
    "lib/mount/plan.ts",
    "drivers/union/probe_directory.ts",
    "lib/snapshots/database.ts",
    "drivers/union/layer_directories.ts",
    "lib/snapshots/mounted_snapshots.ts",
  ];
  assert(modules.length > 20, modules.join("\n"));
  for (const module of modules) {
    const text = Deno.readTextFileSync(join(top, module));
    for (const [, names, from] of text.matchAll(/import \{([^}]*)\} from "([^"]+)"/g)) {
      const wanted = names.split(",").map((name) => name.trim());
      const wrong = from.endsWith("ffi/paths.ts")
        ? wanted
        : from.endsWith("tree/remove_tree.ts") || from.endsWith("./remove_tree.ts")
        ? wanted.filter((name) => name === "removeTree")
        : from.endsWith("ffi/files.ts")
        ? wanted.filter((name) => ["open", "tryOpen", "readFile"].includes(name))
        : [];
      assertEquals(wrong, [], `${module} imports them from ${from}`);
    }
  }
});
