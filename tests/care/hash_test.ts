/** Hashes in the records of layers' content, and records that a check makes. */
// @runs on ext4
// @runs long on xfs
import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path";
import { entryName } from "../../ffi/entry_name.ts";
import { O_DIRECTORY, O_RDONLY, open as openTrusted, withFd } from "../../ffi/files.ts";
import { Stat, tryStatat } from "../../ffi/stat.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { Xxh3 } from "../../ffi/xxhash.ts";
import { DRIVERS } from "../../drivers/names.ts";
import { IDENTITY } from "../../lib/base/id_maps.ts";
import { type Checked, type CheckedStore, checkStore } from "../../lib/care/check.ts";
import { parseContent } from "../../lib/care/content_record.ts";
import { ContentLog } from "../../lib/graph/content_log.ts";
import type { GraphDriver } from "../../lib/graph/driver.ts";
import { FileHash } from "../../lib/graph/file_hash.ts";
import { Home } from "../../lib/store/home.ts";
import { TestStore } from "../support/commands.ts";
import { lacksFileSystem, must, needs, tempDir } from "../support/cases.ts";
import { openDriver, openSnapshotter } from "../support/drivers.ts";
import { tar } from "../tar/support/tar_builder.ts";
import { assertFound } from "./support.ts";

const lacking = lacksFileSystem("overlay");

const { loadChecks } = DRIVERS.find(({ name }) => name === "overlay2")!;
const checks = await loadChecks!();

function deepCheck(root: string, of: CheckedStore["of"] = "layers"): Checked {
  return checkStore({ root, driver: "overlay2", of, checks, deep: true }, 0)!;
}

function open(root: string, record: string): GraphDriver {
  return openDriver({ root, driver: "overlay2", options: [`record=${record}`], warn: () => {} });
}

const TREE = tar(
  { name: "etc/", type: "5", mode: 0o755 },
  { name: "etc/passwd", data: "root\n", mtime: 1_000_000_000 },
  { name: "etc/other", type: "1", link: "etc/passwd" },
  { name: "implied/file", data: "x" },
);

/** Writes over the middle of a file. */
function overwrite(path: string, content: string): void {
  using file = Deno.openSync(path, { write: true });
  file.seekSync(2, Deno.SeekMode.Start);
  file.writeSync(new TextEncoder().encode(content));
}

needs(lacking, "check: deep: hashes tell flipped bits from everything else", async (t) => {
  using dir = tempDir();
  const root = join(dir.path, "root"), diff = join(root, "overlay2/app/diff");
  const large = join(diff, "large"), small = join(diff, "etc/passwd");
  {
    using layers = open(root, "hash");
    layers.create("app");
    const content = "0123456789abcdef".repeat(40_000);
    const path = join(dir.path, "layer.tar");
    Deno.writeFileSync(
      path,
      tar(
        { name: "etc/passwd", data: "overwritten" },
        { name: "large", data: content, mtime: 1_000_000_000 },
        { name: "empty", data: "" },
        { name: "etc/passwd", data: "root\n", mtime: 1_000_000_000 },
        { name: "etc/other", type: "1", link: "etc/passwd" },
      ),
    );
    layers.applyDiff("app", undefined, path);
    layers.create("child", { parent: "app" });
  }
  assertFound(deepCheck(root), []);
  const keepTime = (path: string, act: () => void) => {
    const { mtime } = Deno.statSync(path);
    act();
    Deno.utimeSync(path, mtime!, mtime!);
  };
  const cases: Record<string, [act: () => void, found: string]> = {
    "a bit of a large file": [
      () => keepTime(large, () => overwrite(large, "3")),
      "content-flipped app/diff/large",
    ],
    "a bit of a small file": [
      () => keepTime(small, () => overwrite(small, "O")),
      "content-flipped app/diff/etc/passwd",
    ],
    "an edit": [() => overwrite(small, "O"), "content-changed app/diff/etc/passwd"],
    "a time": [() => Deno.utimeSync(small, 1, 1), "content-touched app/diff/etc/passwd"],
    "a cut": [
      () => keepTime(large, () => Deno.truncateSync(large, 5)),
      "content-shortened app/diff/large",
    ],
    "zeroes for a tail": [
      () =>
        keepTime(large, () => {
          Deno.truncateSync(large, 4096);
          Deno.truncateSync(large, 640_000);
        }),
      "content-flipped app/diff/large",
    ],
  };
  const aside = join(dir.path, "aside");
  must("cp", "-a", diff, aside);
  for (const [name, [act, found]] of Object.entries(cases)) {
    await t.step(name, () => {
      act();
      assertFound(deepCheck(root), [found], ["app", "child"]);
      must("rm", "-rf", diff);
      must("cp", "-a", aside, diff);
      assertFound(deepCheck(root), []);
    });
  }
});

needs(lacking, "check: deep: a record says which hash it has, and the tar's digest", () => {
  using dir = tempDir();
  const root = join(dir.path, "root");
  const plain = join(dir.path, "plain.tar");
  Deno.writeFileSync(plain, TREE);
  must("gzip", "-k", plain);
  must("sh", "-c", 'head -c 200000 /dev/zero | cat "$0" - >"$0".padded', plain);
  const digest = (path: string) => `sha256:${must("sha256sum", path).split(" ")[0]}`;
  {
    using layers = open(root, "hash");
    for (
      const [id, input] of Object.entries({ plain, gzip: `${plain}.gz`, padded: `${plain}.padded` })
    ) {
      layers.create(id);
      layers.applyDiff(id, undefined, input);
    }
  }
  const record = (id: string) =>
    parseContent(Deno.readFileSync(join(root, "overlay2/.veneer/content", id)));
  for (const id of ["plain", "gzip", "padded"]) {
    const content = record(id);
    assert(typeof content !== "string");
    assertEquals(content.diffId, digest(id === "padded" ? `${plain}.padded` : plain), id);
    using xxh3 = Xxh3.open();
    assertEquals(content.hash, xxh3 === undefined ? "sha256" : "xxh3");
    assertEquals([...content.entries.values()].filter(({ hash }) => hash).length, 2);
  }
  // A host without the library.
  const home = Home.open(root, "overlay2", IDENTITY);
  {
    using log = new ContentLog(home, "plain"), hash = FileHash.open("sha256")!;
    const diff = join(root, "overlay2/plain/diff"), stat = new Stat();
    withFd(openTrusted(diff, O_RDONLY | O_DIRECTORY), (fd) => {
      const etc = openTrusted(join(diff, "etc"), O_RDONLY | O_DIRECTORY);
      withFd(etc, () => unwrap(tryStatat(etc, entryName("passwd"), stat), "statx"));
      log.found("etc", entryName("passwd"), stat);
      log.addHashes(fd, hash);
    });
    log.finish();
  }
  const content = record("plain");
  assert(typeof content !== "string" && content.hash === "sha256");
  const passwd = join(root, "overlay2/plain/diff/etc/passwd");
  assertEquals(content.entries.get("etc/passwd")!.hash!.toHex(), digest(passwd).slice(7));
});

Deno.test("file hashes: those of published vectors, whatever the length", () => {
  using sha256 = FileHash.open("sha256")!;
  using xxh3 = FileHash.open("xxh3");
  using dir = tempDir();
  const path = join(dir.path, "file");
  const hashOf = (hash: FileHash, text: string) => {
    Deno.writeTextFileSync(path, text);
    return withFd(openTrusted(path, O_RDONLY), (fd) => hash.ofFile(fd).toHex());
  };
  // FIPS 180-2, and xxHash's sanity checks, little-endian.
  assertEquals(hashOf(sha256, "abc").slice(0, 16), "ba7816bf8f01cfea");
  if (xxh3 !== undefined) assertEquals(hashOf(xxh3, ""), "c294d3380580062d");
  for (const length of [1, 1000, 256 << 10, (256 << 10) + 1, 1_000_000]) {
    const text = "0123456789".repeat(length / 10 + 1).slice(0, length);
    assertEquals(hashOf(sha256, text), must("sha256sum", path).split(" ")[0]);
    if (xxh3 === undefined) continue;
    using whole = Xxh3.open()!;
    const bytes = new DataView(new ArrayBuffer(8));
    bytes.setBigUint64(0, whole.of(new TextEncoder().encode(text)), true);
    assertEquals(hashOf(xxh3, text), new Uint8Array(bytes.buffer).toHex(), String(length));
  }
});

needs(lacking, "cli: check --deep --record makes records of layers without", () => {
  using store = new TestStore("--driver", "overlay2");
  const file = store.tar("a.tar", { "etc/passwd": "root\n", "b": "b" });
  {
    using layers = open(store.root, "none");
    for (const id of ["base", "used", "damaged"]) {
      layers.create(id);
      layers.applyDiff(id, undefined, file);
    }
    layers.create("app", { parent: "base" });
  }
  store.must("mount", "used");
  Deno.removeSync(join(store.root, "overlay2/damaged/link"));
  const { recorded } = JSON.parse(store.run("--json", "check", "--deep", "--record").stdout);
  assertEquals(recorded, ["app", "base"], "neither what may change nor what is damaged");
  store.must("umount", "used");
  assertEquals(store.run("check", "--deep", "base").code, 0);
  overwrite(join(store.root, "overlay2/base/diff/etc/passwd"), "O");
  const { stdout } = store.run("check", "--deep", "base");
  assertMatch(stdout, /^content-changed: .*etc\/passwd was given another content/m);
  assertMatch(stdout, /the content of 2 cannot be told/);
  assertEquals(store.run("check", "--record").code, 2);
});

needs(
  lacking,
  "check: deep: committed snapshots are recorded, and their records are theirs alone",
  () => {
    using store = new TestStore("--driver", "overlay2");
    const root = store.root, home = join(root, "snapshots/overlay2");
    const layers = new Map<string, string>();
    {
      using snapshots = openSnapshotter({ root, driver: "overlay2" });
      snapshots.prepare("one", "");
      snapshots.applyDiff("one", store.tar("a.tar", { "etc/passwd": "root\n" }));
      snapshots.commit("base", "one");
      snapshots.prepare("work", "base");
      for (const { name, layer } of snapshots.walk()) layers.set(name, layer);
    }
    const { recorded } = store.json<{ recorded: string[] }>("check", "--deep", "--record");
    assertEquals(recorded, ["base"], "what is active may change");
    const deep = () => deepCheck(root, "snapshots");
    assertEquals([deep().findings.length, deep().untold], [0, 1]);
    const base = layers.get("base")!;
    const passwd = join(home, "snapshots", base, "fs/etc/passwd");
    overwrite(passwd, "O");
    assertFound(deep(), [`content-changed snapshots/${base}/fs/etc/passwd`], ["base", "work"]);
    // A record that is older than the commit is of an earlier snapshot with this layer's name.
    Deno.utimeSync(join(home, ".veneer/content", base), 1, 1);
    assertEquals([deep().findings.length, deep().untold], [0, 2]);
  },
);
