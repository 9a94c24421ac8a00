/** overlay2's layout: Docker's, byte by byte; what is damaged in it, and what is left of layers. */
// @runs on ext4, xfs, btrfs, guest ext4
import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { lchownSync } from "node:fs";
import { openDriver } from "../../support/drivers.ts";
import { lsetxattr } from "../../../ffi/xattr.ts";
import { VeneerError } from "../../../lib/base/errors.ts";
import { IDENTITY } from "../../../lib/base/id_maps.ts";
import { lacksProgram, mountPoints, must } from "../../support/cases.ts";
import { names, ownership, read } from "../../support/files.ts";
import { MAPPED } from "../../support/id_maps.ts";
import { create } from "../../support/backends.ts";
import { assertFails } from "../../support/errors.ts";
import { chain, lacking, open, test, withMount } from "./support.ts";

test("layout: a base layer and a child, byte by byte", (dir) => {
  const backend = open(dir.path);
  const { home } = backend;
  assertEquals(home.path, `${Deno.realPathSync(dir.path)}/overlay2`);
  create(backend, "base");
  create(backend, "child", "base");
  create(backend, "grandchild", "child");
  assertEquals(names(home.path), [".veneer", "base", "child", "grandchild", "l"]);
  assertEquals(names(home.join("base").text), ["committed", "diff", "link"]);
  assertEquals(names(home.join("child").text), ["committed", "diff", "link", "lower", "work"]);
  assertEquals(names(home.join("grandchild").text), ["diff", "link", "lower", "work"]);
  const links = ["base", "child", "grandchild"].map((id) => read(home.join(id, "link").text));
  for (const link of links) assertMatch(link, /^[A-Z2-7]{26}$/);
  assertEquals(read(home.join("child/lower").text), `l/${links[0]}`);
  assertEquals(read(home.join("grandchild/lower").text), `l/${links[1]}:l/${links[0]}`);
  assertEquals(names(home.join("l").text), links.toSorted());
  assertEquals(Deno.readLinkSync(home.join("l", links[0]).text), "../base/diff");
  assertEquals(Deno.readLinkSync(home.join("l", links[1]).text), "../child/diff");
  const modes = [
    "",
    "l",
    "base",
    "base/link",
    "base/diff",
    "child/lower",
    "child/work",
    "base/committed",
  ];
  assertEquals(modes.map((path) => ownership(home.join(path).text)), [
    "710 0:0",
    "700 0:0",
    "710 0:0",
    "644 0:0",
    "755 0:0",
    "644 0:0",
    "700 0:0",
    "600 0:0",
  ]);
  assertEquals(read(home.join("base/committed").text), "");
  assertEquals(backend.list(), ["base", "child", "grandchild"]);
  assertEquals(backend.parent("base"), "");
  assertEquals(backend.parent("grandchild"), "child");
});

test("layout: owners by id map, whatever the umask", (dir) => {
  const backend = open(dir.path, {}, MAPPED);
  create(backend, "base");
  create(backend, "child", "base");
  const paths = ["", "base", "base/diff", "child/diff", "child/work"];
  assertEquals(paths.map((path) => ownership(backend.home.join(path).text)), [
    "710 0:200000",
    "710 0:200000",
    "755 100000:200000",
    "755 100000:200000",
    "700 100000:200000",
  ]);
  withMount(backend, "child", (root) => {
    assertEquals(ownership(root), "755 100000:200000");
    assertEquals(ownership(backend.home.join("child/merged").text), "755 100000:200000");
    assertEquals(ownership(backend.home.join("child/work/work").text), "0 100000:200000");
  });
});

test("layout: a child's root begins as its parent's", (dir) => {
  const backend = open(dir.path);
  create(backend, "base");
  const diff = backend.home.join("base/diff");
  lchownSync(diff.text, 5, 6);
  Deno.chmodSync(diff.text, 0o1777);
  lsetxattr(diff.text, "user.note", new TextEncoder().encode("kept"));
  lsetxattr(diff.text, "trusted.overlay.opaque", new TextEncoder().encode("y"));
  create(backend, "child", "base");
  assertEquals(ownership(backend.home.join("child/diff").text), "1777 5:6");
  const xattrs = must(
    "getfattr",
    "-d",
    "-m",
    "-",
    "--absolute-names",
    backend.home.join("child/diff").text,
  );
  assert(xattrs.includes('user.note="kept"'), xattrs);
  assert(!xattrs.includes("trusted.overlay"), xattrs);
}, lacking ?? lacksProgram("getfattr"));

/** A store as Docker leaves it: names and contents as its driver writes them. */
function dockerStore(root: string): void {
  const home = `${root}/overlay2`;
  const layers = [
    ["8f2f6b1d4a10", "OYEVNUHBFI5AWPRHHS2FHQDYV2", undefined],
    ["0b1c9a8e7f66-init", "Z4CVOFMDBNLYTBJG4SVDC5QFBL", "l/OYEVNUHBFI5AWPRHHS2FHQDYV2"],
    [
      "0b1c9a8e7f66",
      "ACU7LKWUTVYAIQN2GFXPF3AYVA",
      "l/Z4CVOFMDBNLYTBJG4SVDC5QFBL:l/OYEVNUHBFI5AWPRHHS2FHQDYV2",
    ],
  ] as const;
  Deno.mkdirSync(`${home}/l`, { recursive: true, mode: 0o710 });
  for (const [id, link, lower] of layers) {
    Deno.mkdirSync(`${home}/${id}/diff`, { recursive: true });
    Deno.writeTextFileSync(`${home}/${id}/diff/from-${id}`, id);
    Deno.writeTextFileSync(`${home}/${id}/link`, link);
    Deno.symlinkSync(`../${id}/diff`, `${home}/l/${link}`);
    if (lower === undefined) continue;
    Deno.writeTextFileSync(`${home}/${id}/lower`, lower);
    Deno.mkdirSync(`${home}/${id}/work/work`, { recursive: true });
  }
  // What the driver of other versions leaves beside: marks of layers with children, and its probe.
  Deno.writeTextFileSync(`${home}/8f2f6b1d4a10/committed`, "");
  Deno.mkdirSync(`${home}/0b1c9a8e7f66-init/merged`);
  Deno.writeTextFileSync(`${home}/backingFsBlockDev`, "");
}

test("layout: a store of Docker's is read, mounted, extended and removed from", (dir) => {
  dockerStore(dir.path);
  const backend = open(dir.path);
  assertEquals(backend.list(), ["0b1c9a8e7f66", "0b1c9a8e7f66-init", "8f2f6b1d4a10"]);
  assertEquals(backend.parent("0b1c9a8e7f66"), "0b1c9a8e7f66-init");
  assertEquals(backend.parent("0b1c9a8e7f66-init"), "8f2f6b1d4a10");
  assertEquals(backend.parent("8f2f6b1d4a10"), "");
  withMount(backend, "0b1c9a8e7f66", (root) => {
    assertEquals(names(root), [
      "from-0b1c9a8e7f66",
      "from-0b1c9a8e7f66-init",
      "from-8f2f6b1d4a10",
    ]);
  });
  create(backend, "mine", "0b1c9a8e7f66");
  assertEquals(
    read(backend.home.join("mine/lower").text),
    "l/ACU7LKWUTVYAIQN2GFXPF3AYVA:l/Z4CVOFMDBNLYTBJG4SVDC5QFBL:l/OYEVNUHBFI5AWPRHHS2FHQDYV2",
  );
  withMount(backend, "mine", (root) => assertEquals(names(root).length, 3));
  for (const id of ["mine", "0b1c9a8e7f66"]) {
    backend.retire(id);
    backend.dispose(id);
  }
  assertEquals(names(backend.home.join("l").text), [
    "OYEVNUHBFI5AWPRHHS2FHQDYV2",
    "Z4CVOFMDBNLYTBJG4SVDC5QFBL",
  ]);
});

test("layout: metadata as Docker names it", (dir) => {
  const backend = open(dir.path);
  chain(backend, 3);
  const at = (part: string) => backend.home.join(part).text;
  assertEquals([...backend.metadata("3")], [
    ["LowerDir", `${at("2/diff")}:${at("1/diff")}`],
    ["WorkDir", at("3/work")],
    ["MergedDir", at("3/merged")],
    ["UpperDir", at("3/diff")],
  ]);
  assertEquals([...backend.metadata("1").keys()], ["WorkDir", "MergedDir", "UpperDir"]);
});

test("layout: the directory of links is no layer", (dir) => {
  const backend = open(dir.path);
  assertFails("invalid argument", () => backend.checkId("l"));
  backend.checkId("L");
  assert(!backend.exists("l"));
  assertEquals(backend.list(), []);
});

test("a work directory that is none is named by the mount that fails", (dir) => {
  const backend = open(dir.path);
  chain(backend, 2);
  const path = backend.home.join("2/work").text;
  const refused = () => assertFails("corrupt store", () => withMount(backend, "2", () => {}));
  for (
    const place of [() => Deno.symlinkSync("/tmp", path), () => Deno.writeTextFileSync(path, "")]
  ) {
    Deno.removeSync(path, { recursive: true });
    place();
    assert(refused().message.startsWith(`${path} is not a directory; `), refused().message);
  }
  Deno.removeSync(path);
  assert(refused().message.startsWith(`${path} is missing; `), refused().message);
  Deno.mkdirSync(path);
  withMount(backend, "2", () => {});
});

test("a damaged store is named by file", (dir) => {
  const backend = open(dir.path);
  chain(backend, 2);
  const { home } = backend;
  const link = read(home.join("1/link").text), lower = read(home.join("2/lower").text);
  const damaged = (file: string, change: () => void, call: () => void) => {
    change();
    const error = assertFails("corrupt store", call);
    assert(error.message.includes(home.join(file).text), error.message);
  };
  const write = (file: string, content: string) =>
    Deno.writeTextFileSync(home.join(file).text, content);
  const relink = (target: string) => {
    Deno.removeSync(home.join("l", link).text);
    Deno.symlinkSync(target, home.join("l", link).text);
  };

  for (const garbage of ["", "garbage", "l/../../etc", `${lower}:`, "/etc", "l/A,upperdir=/etc"]) {
    damaged("2/lower", () => write("2/lower", garbage), () => backend.parent("2"));
    assertFails("corrupt store", () => backend.plan("2", {}));
  }
  write("2/lower", lower);
  for (const target of ["/etc", "../../../etc/diff", "../l/diff", "../.veneer/diff", "../1"]) {
    damaged(`l/${link}`, () => relink(target), () => backend.parent("2"));
    assertThrows(() => withMount(backend, "2", () => {}), VeneerError);
  }
  Deno.removeSync(home.join("l", link).text);
  damaged("2/lower", () => {}, () => withMount(backend, "2", () => {}));
  write(`l/${link}`, "a file");
  damaged(`l/${link}`, () => {}, () => backend.parent("2"));
  Deno.removeSync(home.join("l", link).text);
  Deno.symlinkSync("../1/diff", home.join("l", link).text);
  damaged("1/link", () => write("1/link", "../x"), () => create(backend, "3", "1"));
  damaged(
    "1/link",
    () => Deno.removeSync(home.join("1/link").text),
    () => create(backend, "3", "1"),
  );
  write("1/link", link);
  damaged(
    "1/diff",
    () => Deno.renameSync(home.join("1/diff").text, home.join("1/moved").text),
    () => withMount(backend, "2", () => {}),
  );
  assertEquals(names(home.path), [".veneer", "1", "2", "l"]);
  assertEquals(mountPoints(dir.path), []);
});

test("what is left of a layer is listed, and removed", (dir) => {
  const backend = open(dir.path);
  const { home } = backend;
  chain(backend, 2);
  Deno.removeSync(home.join("2/link").text);
  Deno.removeSync(home.join("2/diff").text, { recursive: true });
  for (const [id, part] of [["only-lower", "lower"], ["only-work", "work/work"], ["empty", ""]]) {
    Deno.mkdirSync(home.join(id, part).text, { recursive: true });
  }
  Deno.mkdirSync(home.join("-no-id/diff").text, { recursive: true });
  assertEquals(backend.list(), ["1", "2", "only-lower", "only-work"]);
  assertEquals(backend.parent("only-work"), undefined);
  assertEquals(backend.parent("2"), "1");
  for (const id of ["2", "only-lower", "only-work", "empty"]) {
    assert(backend.exists(id));
    backend.retire(id);
    assert(!backend.exists(id));
    backend.dispose(id);
  }
  assertEquals(backend.list(), ["1"]);
  assertEquals(home.staged(), []);
});

test("what a killed create left is disposed of at every step", (dir) => {
  const backend = open(dir.path);
  const { home } = backend;
  create(backend, "base");
  const link = "KILLEDKILLEDKILLEDKILLEDAB";
  const steps: (() => void)[] = [
    () => Deno.mkdirSync(home.staging("x").text),
    () => Deno.mkdirSync(home.staging("x") + "/diff"),
    () => Deno.writeTextFileSync(home.staging("x") + "/link", ""),
    () => Deno.writeTextFileSync(home.staging("x") + "/link", link),
    () => Deno.symlinkSync("../x/diff", home.join("l", link).text),
  ];
  for (let count = 1; count <= steps.length; count++) {
    for (const step of steps.slice(0, count)) step();
    backend.dispose("x");
    assertEquals(home.staged(), []);
    assertEquals(names(home.join("l").text), [read(home.join("base/link").text)]);
    backend.dispose("x");
  }
  create(backend, "x", "base");
});

test("disposing of a layer leaves the link of one that has its id now", (dir) => {
  const backend = open(dir.path);
  const { home } = backend;
  create(backend, "x");
  const link = read(home.join("x/link").text);
  // The same link as the layer in place, and one of another layer: neither is what was put aside.
  for (const claimed of [link, "OTHEROTHEROTHEROTHEROTHERA"]) {
    Deno.mkdirSync(home.staging("x").text);
    Deno.writeTextFileSync(home.staging("x") + "/link", claimed);
    if (claimed !== link) Deno.symlinkSync("../other/diff", home.join("l", claimed).text);
    backend.dispose("x");
  }
  assertEquals(names(home.join("l").text), [link, "OTHEROTHEROTHEROTHEROTHERA"].sort());
  withMount(backend, "x", () => {});
});

test("a name in a link file that leads elsewhere is not deleted", (dir) => {
  const backend = open(dir.path);
  Deno.writeTextFileSync(`${dir.path}/kept`, "");
  Deno.mkdirSync(backend.home.staging("x").text);
  Deno.writeTextFileSync(backend.home.staging("x") + "/link", "../../kept");
  backend.dispose("x");
  assertEquals(read(`${dir.path}/kept`), "");
});

test("reset empties a layer and keeps what it is", (dir) => {
  const backend = open(dir.path);
  const { home } = backend;
  chain(backend, 2);
  lchownSync(home.join("1/diff").text, 3, 4);
  const before = ["link", "lower"].map((file) => read(home.join("2", file).text));
  Deno.writeTextFileSync(home.join("2/work/left").text, "");
  assert(!backend.isPristine("2"));
  for (const id of ["2", "1"]) {
    backend.reset(id);
    assert(backend.isPristine(id));
    backend.dispose(id); // What it held.
  }
  assertEquals(ownership(home.join("2/diff").text), "755 3:4");
  assertEquals(["link", "lower"].map((file) => read(home.join("2", file).text)), before);
  assertEquals([names(home.join("1").text), names(home.join("2/work").text)], [
    ["committed", "diff", "link"],
    [],
  ]);
  assertEquals(home.staged(), []);
  withMount(backend, "2", (root) => assertEquals(names(root), []));
});

test("a layer whose parent's link leads to itself is removed, and its parent after it", (dir) => {
  const warnings: string[] = [];
  const store = openDriver({
    root: dir.path,
    driver: "overlay2",
    options: ["overlay2.allow_btrfs=true"],
    idMaps: IDENTITY,
    warn: (message) => void warnings.push(message),
  });
  store.create("base");
  store.create("top", { parent: "base" });
  const link = `${store.home}/l/${read(`${store.home}/base/link`)}`;
  Deno.removeSync(link);
  Deno.symlinkSync("../top/diff", link);
  assertEquals(store.layers().map(({ id, parent }) => [id, parent]), [["base", ""], [
    "top",
    undefined,
  ]]);
  assertMatch(warnings.join(), /top is recorded to stand on itself; remove it/);
  store.remove("top");
  store.remove("base");
  assertEquals(store.layers(), []);
});
