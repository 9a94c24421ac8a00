/**
 * The very calls by which aufs layers are mounted and unmounted, through the port that the driver is given.
 * What is expected is text, here and in `testdata/`; nothing of it is made by the driver's code.
 */
// @runs on ext4
// @runs long on xfs, btrfs
import { isRunInMemory, xinoDirectory } from "../../../drivers/aufs/xino.ts";
import { lstat } from "../../../ffi/stat.ts";
import { runDirectory } from "../../../lib/store/run_root.ts";
import { RunState } from "../../../lib/store/run_state.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { checkHome } from "../../../drivers/aufs/mount_data.ts";
import { ENOSPC, SyscallError } from "../../../ffi/errno.ts";
import { VeneerError } from "../../../lib/base/errors.ts";
import { performPlan, undoPlan } from "../../../lib/mount/plan.ts";
import type { GetOptions } from "../../../lib/graph/driver.ts";
import { kernelMountPort } from "../../../lib/mount/port.ts";
import { mountPoints, must, type TempDir } from "../../support/cases.ts";
import { chain, graphOf, open, Recorder, test } from "./support.ts";
import { storeDir } from "../../support/store_dir.ts";
import { create } from "../../support/backends.ts";
import { assertFails } from "../../support/errors.ts";
import { read } from "../../support/files.ts";

const LABEL = "system_u:object_r:container_file_t:s0:c1,c2";
/** `MS_RDONLY` and `MS_REMOUNT` of linux/mount.h. */
const RDONLY = 1, REMOUNT = 32;

/** What a mount is asked for with. */
interface Asked extends GetOptions {
  readonly dirperm1?: boolean;
  readonly xino?: string;
}

/** A root of exactly `length` bytes below a directory. */
function rootOf(directory: string, length: number): string {
  const root = `${directory}/`.padEnd(length, "r");
  assertEquals(root.length, length, `${directory} is too long`);
  return root;
}

/** Calls `body` with a root of 24 bytes: file systems under test are mounted below longer paths. */
function withShortRoot(body: (root: string) => void): void {
  const directory = `/run/v${crypto.randomUUID().slice(0, 8)}`;
  Deno.mkdirSync(directory);
  try {
    body(rootOf(directory, 24));
  } finally {
    Deno.removeSync(directory, { recursive: true });
  }
}

/** Mounts the last of a chain of layers, and returns what the port was asked for. */
function mounted(
  root: string,
  ids: readonly string[],
  { dirperm1 = true, xino = "/run/tmp", ...options }: Asked = {},
): Recorder {
  const recorder = new Recorder(root, dirperm1);
  const backend = open(root, { port: recorder, xino: xino === "" ? undefined : xino });
  chain(backend, ids);
  performPlan(backend.plan(ids.at(-1)!, options), recorder);
  return recorder;
}

/** The data of the calls that mount a layer. */
interface Calls {
  readonly data: string;
  /** Of a remount each. */
  readonly appends: readonly string[];
}

/**
 * Calls of a file of `testdata/`. Behind comments (`#`) stands what `mount(2)` is given, a branch a line, and behind an
 * empty line what each remount is given. `$R` is the store's root, whose length each case fixes.
 */
function expected(name: string): Calls {
  const text = read(join(import.meta.dirname!, "testdata", `${name}.txt`));
  const [data, appends] = text.replaceAll(/^#.*\n/gm, "").split("\n\n");
  return { data: data.replaceAll("\n", ""), appends: appends.split("\n").filter(Boolean) };
}

/** Compares calls with expected ones: one mount, then remounts, all on the layer's place. */
function assertCalls({ calls }: Recorder, id: string, { data, appends }: Calls): void {
  const target = `$R/aufs/mnt/${id}`;
  assertEquals(calls, [
    { call: "mount", target, flags: 0, data },
    ...appends.map((data) => ({ call: "remount", target, flags: REMOUNT, data } as const)),
  ]);
}

/** `count` ids: `1`, `2` and so on. */
const numbers = (count: number) => Array.from({ length: count }, (_, i) => `${i + 1}`);

/** An id of 64 letters and digits, as Docker's are. */
const longId = (number: number) => `${`${number}`.padStart(2, "0")}${"c0ffee".repeat(10)}00`;
const longIds = (count: number) => [
  ...numbers(count).map((number) => longId(Number(number))),
  longId(99),
];

test("TestMountWithParent: three layers, with and without a label, dirperm1 and tables of inode numbers", () => {
  const cases: [Asked, string][] = [
    [
      {},
      "br:$R/aufs/diff/top=rw:$R/aufs/diff/3=ro+wh:$R/aufs/diff/2=ro+wh:$R/aufs/diff/1=ro+wh,dio,xino=/run/tmp/aufs-top.xino,dirperm1",
    ],
    [
      { label: LABEL },
      'br:$R/aufs/diff/top=rw:$R/aufs/diff/3=ro+wh:$R/aufs/diff/2=ro+wh:$R/aufs/diff/1=ro+wh,dio,xino=/run/tmp/aufs-top.xino,dirperm1,context="system_u:object_r:container_file_t:s0:c1,c2"',
    ],
    [
      { dirperm1: false },
      "br:$R/aufs/diff/top=rw:$R/aufs/diff/3=ro+wh:$R/aufs/diff/2=ro+wh:$R/aufs/diff/1=ro+wh,dio,xino=/run/tmp/aufs-top.xino",
    ],
    [
      { dirperm1: false, label: LABEL },
      'br:$R/aufs/diff/top=rw:$R/aufs/diff/3=ro+wh:$R/aufs/diff/2=ro+wh:$R/aufs/diff/1=ro+wh,dio,xino=/run/tmp/aufs-top.xino,context="system_u:object_r:container_file_t:s0:c1,c2"',
    ],
    [
      { xino: "" },
      "br:$R/aufs/diff/top=rw:$R/aufs/diff/3=ro+wh:$R/aufs/diff/2=ro+wh:$R/aufs/diff/1=ro+wh,dio,dirperm1",
    ],
    [
      { xino: "", label: LABEL },
      'br:$R/aufs/diff/top=rw:$R/aufs/diff/3=ro+wh:$R/aufs/diff/2=ro+wh:$R/aufs/diff/1=ro+wh,dio,dirperm1,context="system_u:object_r:container_file_t:s0:c1,c2"',
    ],
    [
      { xino: "", dirperm1: false },
      "br:$R/aufs/diff/top=rw:$R/aufs/diff/3=ro+wh:$R/aufs/diff/2=ro+wh:$R/aufs/diff/1=ro+wh,dio",
    ],
    [
      { xino: "", dirperm1: false, label: LABEL },
      'br:$R/aufs/diff/top=rw:$R/aufs/diff/3=ro+wh:$R/aufs/diff/2=ro+wh:$R/aufs/diff/1=ro+wh,dio,context="system_u:object_r:container_file_t:s0:c1,c2"',
    ],
  ];
  for (const [asked, data] of cases) {
    withShortRoot((root) => {
      const recorder = mounted(root, ["1", "2", "3", "top"], asked);
      assertCalls(recorder, "top", { data, appends: [] });
    });
  }
});

test("the probe for dirperm1 mounts with it, and unmounts what it mounted", () => {
  const target = "$R/aufs/.veneer/staging/.probe-UUID/merged";
  const branch = "$R/aufs/.veneer/staging/.probe-UUID/branch";
  const data = `br:${branch}=rw,dirperm1,xino=/run/tmp/aufs-UUID.xino`;
  withShortRoot((root) => {
    assertEquals(mounted(root, ["base", "top"]).probe, [
      { call: "mount", target, flags: 0, data },
      { call: "unmount", target, flags: 0 },
    ]);
  });
  withShortRoot((root) => {
    const { probe } = mounted(root, ["base", "top"], { dirperm1: false, xino: "" });
    assertEquals(probe, [{ call: "mount", target, flags: 0, data: `br:${branch}=rw,dirperm1` }]);
  });
});

test("read-only, no branch is writable, and no remount makes the mount so", () => {
  withShortRoot((root) => {
    const ids = [...numbers(81), "top"];
    const { calls } = mounted(root, ids, { readOnly: true });
    assertEquals(calls.length, 2);
    const [first, second] = calls;
    assertEquals([first.flags, second.flags], [RDONLY, REMOUNT | RDONLY]);
    const begin = "br:$R/aufs/diff/top=ro+wh:$R/aufs/diff/81=ro+wh:";
    assert(first.data?.startsWith(begin), first.data);
    const end = ":$R/aufs/diff/2=ro+wh,dio,xino=/run/tmp/aufs-top.xino,dirperm1";
    assert(first.data?.endsWith(end), first.data);
    assertEquals(second.data, "append:$R/aufs/diff/1=ro+wh");
  });
});

test("TestMountMoreThan42Layers: 42 layers, and 43 with a label and little else", () => {
  withShortRoot((root) => assertCalls(mounted(root, longIds(42)), longId(99), expected("on_42")));
  withShortRoot((root) => {
    const recorder = mounted(root, longIds(43), { label: LABEL, dirperm1: false, xino: "" });
    assertCalls(recorder, longId(99), expected("on_43_labelled"));
  });
});

test("43 layers below a long path", (dir) => {
  const root = rootOf(dir.path, 200);
  const recorder = mounted(root, longIds(43), { label: LABEL });
  assertCalls(recorder, longId(99), expected("on_43_long"));
});

test("TestMountMoreThan42LayersMatchingPathLength: a page, filled to its last byte", () => {
  const bytes = (root: string, { data }: Calls) => data.replaceAll("$R", root).length;
  withShortRoot((root) => {
    assertEquals(bytes(root, expected("exactly_a_page")), 4095);
    const recorder = mounted(root, longIds(43), { label: "x".repeat(61) });
    assertCalls(recorder, longId(99), expected("exactly_a_page"));
  });
  withShortRoot((root) => {
    const recorder = mounted(root, longIds(43), { label: "x".repeat(62) });
    assertCalls(recorder, longId(99), expected("a_byte_more"));
  });
});

for (
  const [count, name, asked] of [
    [127, "on_127", {}],
    [128, "on_128", { xino: "" }],
    [400, "on_400", {}],
  ] as [number, string, Asked][]
) {
  test(`${count} layers with short ids`, () => {
    withShortRoot((root) => {
      assertCalls(mounted(root, [...numbers(count), "top"], asked), "top", expected(name));
    });
  });
}

test("a remount that fails takes the half-made mount down, and nothing is counted", () => {
  using dir = storeDir();
  const root = `${dir.path}/root`;
  for (const failing of [1, 2, 4]) {
    const recorder = new Recorder(
      root,
      true,
      ({ call }, number) => call !== "unmount" && number === failing,
    );
    const backend = open(`${root}`, { port: recorder });
    if (!backend.exists("top")) chain(backend, [...numbers(90), "top"]);
    const driver = graphOf(backend, recorder);
    assertThrows(() => driver.get("top"), SyscallError, "EINVAL");
    const target = "$R/aufs/mnt/top";
    const made = ["mount", "remount", "remount", "remount"].slice(0, failing);
    assertEquals(recorder.calls.map(({ call }) => call), [
      ...made,
      ...(failing > 1 ? ["unmount"] : []),
    ]);
    assert(recorder.calls.every((call) => call.target === target));
    assertEquals(driver.layer("top").references, 0);
    assert(!backend.isHalfMounted("top"));
    driver.cleanup();
  }
});

test("a mount that a killed process left half made is made anew, and one that is whole is not", (dir) => {
  const recorder = new Recorder(`${dir.path}/root`, true, ({ call, target }) => {
    // A mount of another kind stands for one of aufs.
    const real = target.replace("$R", recorder.root);
    if (call === "unmount") kernelMountPort.unmount(real, 0);
    if (call === "mount") must("mount", "-t", "tmpfs", "tmpfs", real);
    return false;
  });
  const backend = open(recorder.root, { port: recorder });
  chain(backend, [...numbers(81), "top"]);
  const driver = graphOf(backend, recorder);
  const path = backend.mountPoint("top"), mark = `${driver.home}/.veneer/mounting/top`;
  const marks: boolean[] = [];
  const watched = graphOf(backend, {
    ...kernelMountPort,
    mount: (step) => {
      marks.push(backend.isHalfMounted("top"));
      recorder.mount(step);
    },
  });
  watched.get("top");
  assert(marks.length > 1 && marks.every((mark) => mark), `${marks}`);
  assert(!backend.isHalfMounted("top"));

  recorder.calls.length = 0;
  assertEquals(driver.get("top"), path);
  assertEquals(recorder.calls, [], "a mount without the mark is whole");
  while (driver.layer("top").references > 0) driver.put("top");
  // What a process killed between the two calls leaves: a mount, a record, and the mark.
  driver.get("top");
  Deno.writeTextFileSync(mark, "");
  recorder.calls.length = 0;
  driver.get("top");
  assertEquals(recorder.calls.slice(0, 3).map(({ call }) => call), ["unmount", "mount", "remount"]);
  assert(!backend.isHalfMounted("top"));
  assertEquals(mountPoints(path), [path]);
  driver.put("top");
  driver.cleanup();
  Deno.writeTextFileSync(mark, "");
  driver.remove("top");
  assert(!backend.isHalfMounted("top"), "the mark goes with the layer");
});

test("a mount that fails names a layer that is gone, and a table that is in the way", (dir) => {
  const xino = `${dir.path}/tables`;
  Deno.mkdirSync(xino);
  const recorder = new Recorder(`${dir.path}/root`, true, () => true);
  const backend = open(recorder.root, { port: recorder, xino });
  chain(backend, ["a", "b", "c"]);
  const attempt = () => performPlan(backend.plan("c", {}), recorder);
  assertThrows(attempt, SyscallError);
  Deno.writeTextFileSync(`${xino}/aufs-c.xino`, "");
  const inTheWay = assertFails("in use", attempt);
  assert(inTheWay.message.startsWith(`${xino}/aufs-c.xino exists`), inTheWay.message);
  Deno.removeSync(backend.home.join("diff/a").text);
  const gone = assertFails("corrupt store", attempt);
  assert(gone.message.includes("layers/c names layer a"), gone.message);
});

test("unmount: busy is asked again, and pseudo-links are flushed before", (dir) => {
  const recorder = new Recorder(`${dir.path}/root`, true);
  const backend = open(recorder.root, { port: recorder });
  chain(backend, ["base", "top"]);
  const target = "$R/aufs/mnt/top";
  const plan = backend.plan("top", {});
  assertEquals(plan.steps.map((step) => step.kind === "prepare" ? step.name : step.kind), [
    "have a place to mount on",
    "mend layers",
    "mount",
    "flush pseudo-links",
  ]);
  undoPlan(plan, recorder, () => {});
  assertEquals(recorder.calls, [{ call: "unmount", target, flags: 0 }]);
  const mount = plan.steps.find((step) => step.kind === "mount")!;
  assertEquals(mount.busyRetries, 5);
  assert(
    Deno.statSync(backend.mountPoint("top")).isDirectory,
    "it stays: it is part of the layout",
  );
});

test("a base layer needs no mount, and a bind mount where it is read-only", (dir) => {
  const recorder = new Recorder(`${dir.path}/root`, true);
  const backend = open(recorder.root, { port: recorder });
  create(backend, "base");
  assertEquals(backend.plan("base", {}), { path: backend.home.join("diff/base").text, steps: [] });
  const { path, steps } = backend.plan("base", { readOnly: true });
  assertEquals(path, backend.home.join("mnt/base").text);
  assertEquals(steps.slice(1), [
    // MS_BIND of linux/mount.h is 4096.
    {
      kind: "mount",
      source: backend.home.join("diff/base").text,
      target: path,
      type: "none",
      data: "",
      flags: 4096,
    },
    { kind: "append", target: path, type: "none", data: "", flags: 4096 | REMOUNT | RDONLY },
  ]);
});

test("mounts: triples for others, as far as one call goes", () => {
  withShortRoot((root) => {
    const backend = open(root, { port: new Recorder(root, true) });
    chain(backend, [...numbers(81), "top"]);
    const shown = (id: string, options: GetOptions = {}) =>
      JSON.stringify(backend.mounts(id, options)).replaceAll(root, "$R");
    assertEquals(
      shown("3"),
      '[{"type":"aufs","source":"none","options":["br=$R/aufs/diff/3=rw:$R/aufs/diff/2=ro+wh:' +
        '$R/aufs/diff/1=ro+wh","dio","xino=/run/tmp/aufs-3.xino","dirperm1"]}]',
    );
    assertEquals(
      shown("2", { readOnly: true, label: "a:b" }),
      '[{"type":"aufs","source":"none","options":["ro","br=$R/aufs/diff/2=ro+wh:$R/aufs/diff/1=ro+wh",' +
        '"dio","xino=/run/tmp/aufs-2.xino","dirperm1","context=\\"a:b\\""]}]',
    );
    assertEquals(
      shown("1", { readOnly: true }),
      '[{"type":"bind","source":"$R/aufs/diff/1","options":["rbind","ro"]}]',
    );
    backend.mounts("81", {});
    const error = assertFails("limit exceeded", () => backend.mounts("top", {}));
    assert(error.message.startsWith("layer top lies on 81 layers, and 80 fit"), error.message);
  });
});

test("a label, a path or an option that aufs cannot be given is refused", (dir) => {
  const recorder = new Recorder(`${dir.path}/root`, true);
  const backend = open(recorder.root, { port: recorder });
  chain(backend, ["base", "top"]);
  assertFails("limit exceeded", () => backend.plan("top", { label: "x".repeat(4096) }));
  assertFails("invalid argument", () => backend.plan("top", { label: 'x"' }));
  assertFails("invalid argument", () => backend.plan("top", { options: ["volatile"] }));
  checkHome("/var/lib/veneer + more/aufs");
  for (const [character, path] of [[",", "/a,b"], [":", "/a:b"], ["=", "/a=b"], ['"', '/a"b']]) {
    const { message } = assertFails("not supported", () => checkHome(path));
    assert(message.startsWith(`the path ${path} has a ${character}`), message);
  }
});

test("a store below such a path is read, and not mounted", (dir: TempDir) => {
  const backend = open(`${dir.path}/root,here`);
  chain(backend, ["base", "top"]);
  assertEquals(backend.nativeDiff("top"), {
    kind: "upper",
    upper: backend.home.join("diff/top").text,
    lowers: [backend.home.join("diff/base").text],
    form: "aufs",
  });
  assertFails("not supported", () => backend.plan("top", {}));
  assertFails("not supported", () => backend.mounts("top", {}));
});

test("more layers than this kernel's aufs mounts are refused at create and at mount", (dir) => {
  const recorder = new Recorder(`${dir.path}/root`, true);
  const backend = open(recorder.root, { port: recorder, branchLimit: () => 3 });
  chain(backend, ["1", "2", "3"]);
  backend.plan("3", {});
  const { message } = assertFails("limit exceeded", () => create(backend, "4", "3"));
  assert(message.startsWith("layer 4 would lie on 3 layers, and 2 is the most"), message);
  const unlimited = open(recorder.root, { port: recorder });
  create(unlimited, "4", "3");
  assertFails("limit exceeded", () => backend.plan("4", {}));
});

test("more layers than aufs mounts by default are refused at create, unless more are known", (dir) => {
  const recorder = new Recorder(`${dir.path}/root`, true);
  const silent = open(recorder.root, { port: recorder, branchLimit: () => undefined });
  chain(silent, numbers(127));
  const { message } = assertFails("limit exceeded", () => create(silent, "128", "127"));
  assert(message.startsWith("layer 128 would lie on 127 layers, and 126 is the most"), message);
  assert(message.includes("/proc/config.gz"), message);
  // A layer that is there may be mounted all the same: what that gives is up to the kernel.
  create(open(recorder.root, { port: recorder, branchLimit: () => 511 }), "128", "127");
  performPlan(silent.plan("128", {}), recorder);
  // Of a kernel without aufs nothing is known.
  const without = open(recorder.root, {
    branchLimit: () => undefined,
    checkMountable: () => new VeneerError("not supported", "no aufs"),
  });
  create(without, "129", "128");
});

test("a branch too many is no space to aufs, and a limit to others", (dir) => {
  const asked: number[] = [];
  const recorder = new Recorder(
    `${dir.path}/root`,
    true,
    ({ call }, number) => call === "remount" && number === failing ? ENOSPC : false,
  );
  const environment = {
    port: recorder,
    branchLimit: (branches: number) => void asked.push(branches),
  };
  let failing = 0;
  chain(open(recorder.root, { port: recorder }), [...numbers(200), "top"]);
  const backend = open(recorder.root, environment);
  const refused = (call: number) => {
    recorder.calls.length = 0;
    failing = call;
    return assertThrows(() => performPlan(backend.plan("top", {}), recorder), Error);
  };
  // A path as long as this one makes the first call take fewer, so it is looked where the 128th is.
  performPlan(backend.plan("top", {}), recorder);
  const first = recorder.calls[0].data!.split("=ro+wh").length;
  const error = refused(1 + 128 - first);
  assert(error instanceof VeneerError, `${error}`);
  assertEquals(
    [error.code, error.message, error.remedy],
    [
      "limit exceeded",
      "layer top lies on 200 layers, more than aufs of this kernel mounts",
      { kind: "join", of: "layers" },
    ],
  );
  assertEquals(recorder.calls.at(-1)!.call, "unmount");
  // So many every aufs takes: the disk is full.
  const full = refused(127 - first + 1);
  assert(full instanceof SyscallError && full.errno === ENOSPC, `${full}`);
  assertEquals(asked.every((branches) => branches === 201), true);
  // What is gone is said of a remount, too.
  Deno.removeSync(backend.home.join("diff/1").text);
  assertEquals((refused(2) as VeneerError).code, "corrupt store");
});

test("on a full disk layers are mounted without asking what aufs has", (dir) => {
  const path = `${dir.path}/full`;
  Deno.mkdirSync(path);
  must("mount", "-t", "tmpfs", "-o", "nr_inodes=700", "tmpfs", path);
  const root = `${path}/root`;
  const recorder = new Recorder(root, true);
  const backend = open(root, { port: recorder });
  chain(backend, [...numbers(90), "top"]);
  performPlan(backend.plan("2", {}), recorder);
  let files = 0;
  try {
    for (;; files++) Deno.writeTextFileSync(`${path}/${files}`, "");
  } catch {
    // It is full.
  }
  assert(files > 0);
  assertEquals(recorder.probe.length, 2, "while there is room it is asked");
  const full = new Recorder(root, true), again = open(root, { port: full });
  const plan = again.plan("top", {});
  performPlan(plan, full);
  undoPlan(plan, full, () => {});
  assertEquals(full.probe, []);
  assertEquals(full.calls.map(({ call }) => call).filter((call, i, all) => call !== all[i - 1]), [
    "mount",
    "remount",
    "unmount",
  ]);
  assert(full.calls[0].data!.endsWith(",dirperm1"), full.calls[0].data);
  const mount = plan.steps.find((step) => step.kind === "mount")!;
  assertEquals(mount.plainData, mount.data.replace(/,dirperm1$/, ""), "for an aufs without it");
  assertEquals(new Map(again.status()).get("Dirperm1 Supported"), "unknown");
  const [{ options }] = again.mounts("3", {});
  assert(!options.includes("dirperm1"), `${options}`);
});

test("tables of inode numbers are made where only root can, in memory if /run is", (dir) => {
  const { home } = open(`${dir.path}/root`);
  new RunState(home);
  const directory = xinoDirectory(home);
  const expected = isRunInMemory() ? runDirectory(home) : home.own();
  assertEquals(directory, expected);
  const { mode, uid } = lstat(directory);
  assertEquals([mode & 0o777, uid], [0o700, 0]);
});
