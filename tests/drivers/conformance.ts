/**
 * What every graph driver does, as cases that any driver can be put through.
 *
 * The names of the first group are those under which the field's own suites check the same. A driver's test
 * file calls {@linkcode conformance}; every case has a store of its own on the file system under test, and
 * fails where it leaves anything mounted or staged.
 */
import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { lchownSync } from "node:fs";
import { join } from "@std/path";
import { close, O_CREAT, O_RDONLY, O_TRUNC, O_WRONLY, open, withFd } from "../../ffi/files.ts";
import { lgetxattr, lsetxattr } from "../../ffi/xattr.ts";
import { type ErrorCode, VeneerError } from "../../lib/errors.ts";
import type { GraphDriver } from "../../lib/graph_driver.ts";
import { IDENTITY, IdMap, type IdMaps } from "../../lib/id_maps.ts";
import { readMountInfo } from "../../lib/mountinfo.ts";
import { mountPoints, must, needs } from "../support.ts";
import { runState, storeDir } from "./store_dir.ts";
import { changeAtRandom, describeTree, lines, modelChanges, random, tarOf } from "./trees.ts";

/** A driver under test. */
export interface Subject {
  /** Begins every case's name. */
  readonly name: string;
  /** Opens a store, the same each time for the same root. */
  readonly open: (root: string, idMaps: IdMaps) => GraphDriver;
  /** Why the driver does not run here, if it does not. */
  readonly lacking?: string;
  /** How many layers may lie below another. */
  readonly maxDepth: number;
  /** Why layers cannot have a size here, if they cannot. */
  readonly lackingQuota?: string;
  /** A size that a layer can have, in MiB; 8 where left out. */
  readonly quota?: number;
  /** The longest id, in bytes; 200 where left out. */
  readonly longestId?: number;
}

/** A store of a case's own. */
interface Store extends Disposable {
  readonly driver: GraphDriver;
  /** A directory for the case's files, outside the store. */
  readonly scratch: string;
  readonly root: string;
  /** The same store as another process would open it. */
  reopen(): GraphDriver;
}

const EMPTY_TAR = new Uint8Array(1024);

/** Registers every case for a driver. */
export function conformance(subject: Subject): void {
  const suite = new Suite(subject);
  suite.peers();
  suite.contract();
  suite.diffs();
  suite.failures();
}

class Suite {
  constructor(readonly subject: Subject) {}

  case(name: string, body: (store: Store) => void, lacking = this.subject.lacking): void {
    this.caseMapped(name, IDENTITY, body, lacking);
  }

  caseMapped(
    name: string,
    idMaps: IdMaps,
    body: (store: Store) => void,
    lacking = this.subject.lacking,
  ): void {
    needs(lacking, `${this.subject.name}: ${name}`, () => {
      using store = this.open(idMaps);
      body(store);
      assertNothingLeft(store);
    });
  }

  open(idMaps: IdMaps): Store {
    const dir = storeDir();
    const root = `${dir.path}/root`, scratch = `${dir.path}/scratch`;
    Deno.mkdirSync(scratch);
    const reopen = () => this.subject.open(root, idMaps);
    return {
      driver: reopen(),
      scratch,
      root,
      reopen,
      [Symbol.dispose]: () => dir[Symbol.dispose](),
    };
  }

  peers(): void {
    this.case("CreateEmpty", ({ driver }) => {
      driver.create("empty");
      assert(driver.exists("empty"));
      const root = driver.get("empty");
      assertEquals([...Deno.readDirSync(root)], []);
      const { mode, uid, gid } = Deno.lstatSync(root);
      assertEquals([mode! & 0o7777, uid, gid], [0o755, 0, 0]);
      driver.put("empty");
      driver.remove("empty");
      assert(!driver.exists("empty"));
    });

    this.case("CreateBase", ({ driver }) => {
      makeBase(driver, "bottom");
      verifyBase(driver, "bottom");
      driver.remove("bottom");
    });

    this.case("CreateSnap", ({ driver }) => {
      makeBase(driver, "bottom");
      driver.create("snap", { parent: "bottom" });
      verifyBase(driver, "snap");
      const root = driver.get("snap");
      Deno.writeTextFileSync(`${root}/a file`, "changed in the snap");
      Deno.removeSync(`${root}/a subdir`);
      driver.put("snap");
      verifyBase(driver, "bottom");
      assertEquals(lines(driver.changes("snap", undefined)), ["C /a file", "D /a subdir"]);
    });

    needs(
      "layers are not made from templates: a child with the same content is what there is",
      `${this.subject.name}: CreateFromTemplate`,
      () => {},
    );

    this.#deepLayerRead("DeepLayerRead", Math.min(128, this.subject.maxDepth));
    if (this.subject.maxDepth > 128) this.#deepLayerRead("DeepLayerRead at the driver's limit");

    this.case("DiffApply", (store) => {
      const { driver, scratch } = store;
      fill(driver, "bottom", (root) => {
        for (let i = 0; i < 100; i++) Deno.writeTextFileSync(`${root}/base-${i}`, `${i}`);
        Deno.mkdirSync(`${root}/directory/below`, { recursive: true });
      });
      fill(driver, "upper", (root) => {
        for (let i = 0; i < 100; i += 2) Deno.removeSync(`${root}/base-${i}`);
        for (let i = 0; i < 30; i++) Deno.writeTextFileSync(`${root}/upper-${i}`, "x".repeat(i));
        Deno.removeSync(`${root}/directory`, { recursive: true });
        Deno.mkdirSync(`${root}/directory`);
      }, "bottom");
      const size = driver.diffSize("upper", undefined);
      assertEquals(size, 29 * 30 / 2);

      driver.create("copy", { parent: "bottom" });
      assertEquals(apply(driver, "copy", diff(driver, "upper", undefined, scratch)), size);
      assertEquals(treeOf(driver, "copy"), treeOf(driver, "upper"));
      assertEquals(
        lines(driver.changes("copy", undefined)),
        lines(driver.changes("upper", "bottom")),
      );
    });

    this.case("Changes", ({ driver }) => {
      fill(driver, "bottom", (root) => {
        Deno.mkdirSync(`${root}/untouched`);
        Deno.mkdirSync(`${root}/directory`);
        for (const name of ["kept", "changed", "removed", "mode", "directory/inside"]) {
          Deno.writeTextFileSync(`${root}/${name}`, name);
        }
      });
      fill(driver, "upper", (root) => {
        Deno.writeTextFileSync(`${root}/changed`, "otherwise");
        Deno.removeSync(`${root}/removed`);
        Deno.chmodSync(`${root}/mode`, 0o600);
        Deno.writeTextFileSync(`${root}/directory/new`, "new");
        Deno.mkdirSync(`${root}/added`);
        Deno.symlinkSync("anywhere", `${root}/added/link`);
      }, "bottom");
      const expected = [
        "A /added",
        "A /added/link",
        "C /changed",
        "C /directory",
        "A /directory/new",
        "C /mode",
        "D /removed",
      ];
      assertEquals(lines(driver.changes("upper", "bottom")), expected);
      assertEquals(lines(driver.changes("upper", undefined)), expected);
      assertEquals(lines(driver.changes("bottom", undefined)), [
        "A /changed",
        "A /directory",
        "A /directory/inside",
        "A /kept",
        "A /mode",
        "A /removed",
        "A /untouched",
      ]);
    });

    this.case("SetQuota", ({ driver }) => {
      makeBase(driver, "bottom");
      const { quota = 8 } = this.subject;
      const limit = new Map([["SIZE", `${quota}M`]]);
      driver.createReadWrite("limited", { parent: "bottom", storageOptions: limit });
      const root = driver.get("limited");
      Deno.writeFileSync(`${root}/fits`, new Uint8Array(quota * 0.6 * 2 ** 20));
      const more = new Uint8Array(quota * 0.75 * 2 ** 20);
      assertThrows(() => Deno.writeFileSync(`${root}/does not`, more));
      driver.put("limited");
      driver.remove("limited");
    }, this.subject.lacking ?? this.subject.lackingQuota);

    this.case("Echo", (store) => {
      const { driver, scratch } = store;
      const pick = random(7);
      const chain = ["first", "second", "third"];
      let parent: string | undefined;
      for (const id of chain) {
        fill(driver, id, (root) => changeAtRandom(root, pick, 40), parent);
        driver.create(`echo-${id}`, { parent: parent && `echo-${parent}` });
        const tar = diff(driver, id, undefined, scratch);
        apply(driver, `echo-${id}`, tar);
        assertEquals(treeOf(driver, `echo-${id}`), treeOf(driver, id));
        assertEquals(
          lines(driver.changes(`echo-${id}`, undefined)),
          lines(driver.changes(id, undefined)),
        );
        const again = diff(driver, `echo-${id}`, undefined, scratch);
        assertEquals(Deno.readFileSync(again), Deno.readFileSync(tar));
        parent = id;
      }
    });

    this.case("ListLayers", ({ driver, reopen }) => {
      assertEquals(driver.layers(), []);
      for (const id of ["b", "a", "c.d_e-f"]) driver.create(id);
      driver.create("child", { parent: "b" });
      const all = driver.layers();
      assertEquals(all.map(({ id }) => id), ["a", "b", "c.d_e-f", "child"]);
      assertEquals(all.map(({ parent }) => parent), ["", "", "", "b"]);
      assert(all.every(({ incomplete, references }) => !incomplete && references === 0));
      assertEquals(reopen().layers(), all);
      driver.remove("a");
      assertEquals(driver.layers().map(({ id }) => id), ["b", "c.d_e-f", "child"]);
    });
  }

  #deepLayerRead(name: string, depth = this.subject.maxDepth): void {
    this.case(`${name} (${depth} layers below)`, ({ driver, scratch }) => {
      Deno.mkdirSync(`${scratch}/layer`);
      for (let i = 0; i <= depth; i++) {
        for (const file of ["shared", `only-${i}`]) {
          Deno.writeTextFileSync(`${scratch}/layer/${file}`, `layer ${i}`);
        }
        const parent = i === 0 ? undefined : `layer-${i - 1}`;
        driver.create(`layer-${i}`, { parent });
        apply(driver, `layer-${i}`, tarOf(`${scratch}/layer`, `${scratch}/layer.tar`));
        Deno.removeSync(`${scratch}/layer/only-${i}`);
      }
      for (const readOnly of [false, true]) {
        const root = driver.get(`layer-${depth}`, { readOnly });
        assertEquals(Deno.readTextFileSync(`${root}/shared`), `layer ${depth}`);
        for (let i = 0; i <= depth; i++) {
          assertEquals(Deno.readTextFileSync(`${root}/only-${i}`), `layer ${i}`);
        }
        assertEquals([...Deno.readDirSync(root)].length, depth + 2);
        driver.put(`layer-${depth}`);
      }
    });
  }

  contract(): void {
    this.case("get and put count", ({ driver, reopen }) => {
      fill(driver, "bottom", (root) => Deno.writeTextFileSync(`${root}/f`, "bottom"));
      driver.create("child", { parent: "bottom" });
      const path = driver.get("child");
      assertEquals(Deno.readTextFileSync(`${path}/f`), "bottom");
      const other = reopen();
      assertEquals(other.get("child"), path);
      assertEquals(driver.layer("child").references, 2);
      driver.put("child");
      assertEquals(other.layer("child").references, 1);
      assertEquals(Deno.readTextFileSync(`${path}/f`), "bottom");
      other.put("child");
      const info = driver.layer("child");
      assertEquals([info.references, info.mountPoint], [0, undefined]);
      assertFails("failed precondition", () => driver.put("child"));
    });

    this.case("what is written through a mount is there at the next", ({ driver }) => {
      for (const [id, parent] of [["bottom", undefined], ["child", "bottom"]] as const) {
        fill(driver, id, (root) => Deno.writeTextFileSync(`${root}/in ${id}`, id), parent);
        const names = [...Deno.readDirSync(driver.get(id))].map(({ name }) => name);
        assertEquals(names.sort(), parent ? ["in bottom", "in child"] : ["in bottom"]);
        driver.put(id);
      }
    });

    this.case("a mount is seen here only, and once", ({ driver, root }) => {
      driver.create("bottom");
      driver.create("child", { parent: "bottom" });
      const path = driver.get("child");
      for (const mount of readMountInfo().filter(({ mountPoint }) => mountPoint.startsWith(root))) {
        assertEquals(mount.propagation, [], mount.mountPoint);
      }
      if (mountPoints(root).includes(path)) {
        assertEquals(mountPoints(root).filter((point) => point === path).length, 1);
      }
      driver.put("child");
    });

    this.case("a read-only mount", ({ driver }) => {
      makeBase(driver, "bottom");
      driver.create("child", { parent: "bottom" });
      const root = driver.get("child", { readOnly: true });
      assertEquals(Deno.readTextFileSync(`${root}/a file`), "content");
      const error = assertThrows(() => Deno.writeTextFileSync(`${root}/new`, ""), Error);
      assert(/read-only|EROFS|os error 30/i.test(error.message), error.message);
      driver.put("child");
      assertEquals(lines(driver.changes("child", undefined)), []);
    });

    this.case("children and references keep a layer", ({ driver }) => {
      driver.create("bottom");
      driver.create("child", { parent: "bottom" });
      const error = assertFails("in use", () => driver.remove("bottom"));
      assert(error.message.includes("child"), error.message);
      driver.get("child");
      const used = assertFails("in use", () => driver.remove("child"));
      assert(used.message.includes("child"), used.message);
      driver.put("child");
      driver.remove("child");
      driver.remove("bottom");
      assertEquals(driver.layers(), []);
    });

    this.case("a layer is removed once", ({ driver }) => {
      driver.create("layer");
      driver.remove("layer");
      assertFails("not found", () => driver.remove("layer"));
      driver.create("layer");
      assertEquals(lines(driver.changes("layer", undefined)), []);
    });

    this.case("what does not exist is not found", ({ driver, scratch }) => {
      const tar = `${scratch}/empty.tar`;
      Deno.writeFileSync(tar, EMPTY_TAR);
      assert(!driver.exists("nothing"));
      const calls: (() => void)[] = [
        () => driver.get("nothing"),
        () => driver.put("nothing"),
        () => driver.remove("nothing"),
        () => driver.layer("nothing"),
        () => driver.getMetadata("nothing"),
        () => driver.mounts("nothing"),
        () => lines(driver.changes("nothing", undefined)),
        () => driver.diffSize("nothing", undefined),
        () => diff(driver, "nothing", undefined, scratch),
        () => apply(driver, "nothing", tar),
        () => driver.create("child", { parent: "nothing" }),
        () => driver.createReadWrite("child", { parent: "nothing" }),
      ];
      for (const call of calls) assertFails("not found", call);
      driver.create("layer");
      assertFails("not found", () => lines(driver.changes("layer", "nothing")));
      assertFails("not found", () => diff(driver, "layer", "nothing", scratch));
      assertEquals(driver.layers().map(({ id }) => id), ["layer"]);
    });

    this.case("what exists is not made again", ({ driver }) => {
      makeBase(driver, "bottom");
      assertFails("already exists", () => driver.create("bottom"));
      assertFails("already exists", () => driver.createReadWrite("bottom"));
      verifyBase(driver, "bottom");
    });

    this.case("what is no id is refused everywhere", ({ driver, scratch, root }) => {
      const before = treeNames(root);
      const ids = [
        "",
        ".",
        "..",
        "a/b",
        "../x",
        ".veneer",
        "-x",
        "x".repeat(201),
        "a b",
        "é",
        "a\0b",
      ];
      for (const id of ids) {
        for (
          const call of [
            () => driver.create(id),
            () => driver.get(id),
            () => driver.put(id),
            () => driver.remove(id),
            () => driver.exists(id),
            () => driver.getMetadata(id),
            () => diff(driver, id, undefined, scratch),
          ]
        ) assertFails("invalid argument", call);
        if (id !== "") assertFails("invalid argument", () => driver.create("x", { parent: id }));
      }
      assertEquals(treeNames(root), before);
      const longest = "x".repeat(this.subject.longestId ?? 200);
      driver.create(longest);
      driver.create("child", { parent: longest });
      driver.get("child");
      driver.put("child");
    });

    this.case("storage options that are none are refused", ({ driver }) => {
      const error = assertFails(
        "invalid argument",
        () => driver.createReadWrite("x", { storageOptions: new Map([["sise", "1G"]]) }),
      );
      assert(error.message.includes("size"), error.message);
      assertFails(
        "invalid argument",
        () => driver.createReadWrite("x", { storageOptions: new Map([["size", "lots"]]) }),
      );
      assertEquals(driver.layers(), []);
    });

    this.case("metadata and status are there", ({ driver }) => {
      makeBase(driver, "bottom");
      driver.create("child", { parent: "bottom" });
      for (const id of ["bottom", "child"]) assert(driver.getMetadata(id).size > 0);
      const status = driver.status();
      assert(status.length > 0);
      assert(status.every(([name, value]) => name !== "" && typeof value === "string"));
    });

    this.case("cleanup takes down what nobody counts, and nothing else", ({ driver, root }) => {
      driver.create("bottom");
      for (const id of ["used", "stray"]) {
        driver.create(id, { parent: "bottom" });
        driver.get(id);
      }
      const path = driver.layer("stray").mountPoint;
      if (path !== undefined) {
        forgetCount(driver, "stray");
        assert(isMounted(root, path));
        assertEquals(driver.cleanup(), ["unmounted layer stray"]);
        assert(!isMounted(root, path));
        assertEquals(driver.layer("used").references, 1);
      } else {
        driver.put("stray"); // Layers of this driver need no mount.
      }
      driver.put("used");
    });

    this.case("a mount that nobody counts is adopted, and does not keep a layer", ({ driver }) => {
      driver.create("bottom");
      driver.create("layer", { parent: "bottom" });
      const path = driver.get("layer");
      forgetCount(driver, "layer");
      assertEquals(driver.get("layer"), path);
      assertEquals(driver.layer("layer").references, 1);
      forgetCount(driver, "layer");
      driver.remove("layer");
      assert(!driver.exists("layer"));
    });

    this.case("mounts says how to mount a layer elsewhere", ({ driver, scratch }) => {
      makeBase(driver, "bottom");
      driver.create("child", { parent: "bottom" });
      for (const id of ["bottom", "child"]) {
        for (const readOnly of [false, true]) {
          const [mount, ...more] = driver.mounts(id, { readOnly });
          assertEquals(more, []);
          const target = `${scratch}/target`;
          Deno.mkdirSync(target, { recursive: true });
          const options = mount.options.join(",");
          // mount(8) takes a bind mount's type for an option.
          const type = mount.type === "bind" ? [] : ["-t", mount.type];
          must("mount", ...type, "-o", options, mount.source, target);
          try {
            assertEquals(Deno.readTextFileSync(`${target}/a file`), "content");
            if (readOnly) assertThrows(() => Deno.writeTextFileSync(`${target}/new`, ""));
          } finally {
            must("umount", target);
          }
        }
      }
    });

    const mapped: IdMaps = {
      uids: new IdMap([{ container: 0, host: 100_000, size: 65_536 }]),
      gids: new IdMap([{ container: 0, host: 200_000, size: 65_536 }]),
    };
    this.caseMapped("IdMaps", mapped, ({ driver, scratch }) => {
      driver.create("bottom");
      Deno.mkdirSync(`${scratch}/layer`);
      Deno.writeTextFileSync(`${scratch}/layer/file`, "");
      lchownSync(`${scratch}/layer/file`, 5, 6);
      apply(driver, "bottom", tarOf(`${scratch}/layer`, `${scratch}/layer.tar`));
      driver.create("child", { parent: "bottom" });
      for (const id of ["bottom", "child"]) {
        const root = driver.get(id);
        const owner = (path: string) => {
          const { uid, gid } = Deno.lstatSync(path);
          return [uid, gid];
        };
        assertEquals(owner(root), [100_000, 200_000]);
        assertEquals(owner(`${root}/file`), [100_005, 200_006]);
        driver.put(id);
      }
      const tar = diff(driver, "bottom", undefined, scratch);
      assert(/ 5\/6 /.test(must("tar", "--numeric-owner", "-tvf", tar)));
      assertEquals(Deno.readFileSync(diff(driver, "child", undefined, scratch)), EMPTY_TAR);
    });
  }

  diffs(): void {
    this.case("a layer without changes is the empty tar", ({ driver, scratch }) => {
      makeBase(driver, "bottom");
      driver.create("child", { parent: "bottom" });
      driver.get("child");
      driver.put("child");
      assertEquals(Deno.readFileSync(diff(driver, "child", undefined, scratch)), EMPTY_TAR);
      assertEquals(lines(driver.changes("child", undefined)), []);
      assertEquals(driver.diffSize("child", undefined), 0);
      driver.create("empty");
      assertEquals(Deno.readFileSync(diff(driver, "empty", undefined, scratch)), EMPTY_TAR);
    });

    this.case("the empty tar is applied", ({ driver, scratch }) => {
      makeBase(driver, "bottom");
      driver.create("child", { parent: "bottom" });
      Deno.writeFileSync(`${scratch}/empty.tar`, EMPTY_TAR);
      assertEquals(apply(driver, "child", `${scratch}/empty.tar`), 0);
      verifyBase(driver, "child");
    });

    this.case("no parent is the whole layer", ({ driver, scratch }) => {
      makeBase(driver, "bottom");
      fill(driver, "child", (root) => Deno.writeTextFileSync(`${root}/new`, "new"), "bottom");
      assertEquals(lines(driver.changes("child", "")), ["A /a file", "A /a subdir", "A /new"]);
      driver.create("whole");
      apply(driver, "whole", diff(driver, "child", "", scratch));
      assertEquals(treeOf(driver, "whole"), treeOf(driver, "child"));
      assertEquals(driver.diffSize("child", ""), "content".length + "new".length);
    });

    this.case("another parent than the direct one is compared with", ({ driver, scratch }) => {
      makeBase(driver, "bottom");
      fill(driver, "middle", (root) => Deno.writeTextFileSync(`${root}/middle`, ""), "bottom");
      fill(driver, "top", (root) => Deno.writeTextFileSync(`${root}/top`, ""), "middle");
      fill(driver, "other", (root) => Deno.writeTextFileSync(`${root}/other`, ""));
      assertEquals(lines(driver.changes("top", "bottom")), ["A /middle", "A /top"]);
      const expected = ["A /a file", "A /a subdir", "A /middle", "D /other", "A /top"];
      assertEquals(lines(driver.changes("top", "other")), expected);
      driver.create("copy", { parent: "other" });
      apply(driver, "copy", diff(driver, "top", "other", scratch));
      assertEquals(treeOf(driver, "copy"), treeOf(driver, "top"));
    });

    this.case("the root's own mode, owner and attributes are carried on", ({ driver, scratch }) => {
      fill(driver, "bottom", (root) => {
        Deno.chmodSync(root, 0o1777);
        lchownSync(root, 7, 8);
        lsetxattr(root, "user.root", new TextEncoder().encode("bottom"));
      });
      fill(driver, "child", (root) => {
        assertEquals(rootOf(root), [0o1777, 7, 8, "bottom"]);
        Deno.chmodSync(root, 0o711);
      }, "bottom");
      driver.create("grandchild", { parent: "child" });
      assertEquals(Deno.readFileSync(diff(driver, "grandchild", undefined, scratch)), EMPTY_TAR);
      driver.create("base-copy");
      apply(driver, "base-copy", diff(driver, "bottom", undefined, scratch));
      driver.create("child-copy", { parent: "base-copy" });
      apply(driver, "child-copy", diff(driver, "child", undefined, scratch));
      assertEquals(rootOf(driver.get("child-copy")), [0o711, 7, 8, "bottom"]);
      driver.put("child-copy");
    });

    this.case("deletions and replacements travel", ({ driver, scratch }) => {
      fill(driver, "bottom", (root) => {
        Deno.mkdirSync(`${root}/opaque/below`, { recursive: true });
        Deno.writeTextFileSync(`${root}/opaque/old`, "old");
        Deno.mkdirSync(`${root}/becomes-file/inside`, { recursive: true });
        Deno.writeTextFileSync(`${root}/becomes-directory`, "");
        Deno.symlinkSync("opaque", `${root}/becomes-real`);
        Deno.writeTextFileSync(`${root}/gone`, "");
      });
      fill(driver, "child", (root) => {
        for (
          const name of ["opaque", "becomes-file", "becomes-directory", "becomes-real", "gone"]
        ) {
          Deno.removeSync(`${root}/${name}`, { recursive: true });
        }
        Deno.mkdirSync(`${root}/opaque`);
        Deno.writeTextFileSync(`${root}/opaque/new`, "new");
        Deno.writeTextFileSync(`${root}/becomes-file`, "file");
        Deno.mkdirSync(`${root}/becomes-directory/inside`, { recursive: true });
        Deno.mkdirSync(`${root}/becomes-real/inside`, { recursive: true });
      }, "bottom");
      const expected = treeOf(driver, "child");
      assertEquals(
        lines(driver.changes("child", undefined)),
        modelChanges(treeOf(driver, "bottom"), expected),
      );
      driver.create("copy", { parent: "bottom" });
      apply(driver, "copy", diff(driver, "child", undefined, scratch));
      assertEquals(treeOf(driver, "copy"), expected);
    });

    this.case("random changes are what a model says, what trees say, and travel", (store) => {
      const { driver, scratch } = store;
      const seeds = Deno.env.has("VENEER_TEST_LONG") ? 300 : 12;
      for (let seed = 1; seed <= seeds; seed++) {
        const pick = random(seed);
        const [bottom, base, twin, child, copy] = ["bottom", "base", "twin", "child", "copy"]
          .map((name) => name + seed);
        fill(driver, bottom, (root) => changeAtRandom(root, pick, 40));
        fill(driver, base, (root) => changeAtRandom(root, pick, 15), bottom);
        driver.create(twin, { parent: base });
        fill(driver, child, (root) => changeAtRandom(root, pick, 25), base);
        const tree = treeOf(driver, child);
        const changes = lines(driver.changes(child, undefined));
        assertEquals(changes, modelChanges(treeOf(driver, base), tree), `seed ${seed}`);
        assertEquals(lines(driver.changes(child, twin)), changes, `seed ${seed}, trees compared`);
        driver.create(copy, { parent: base });
        const tar = diff(driver, child, undefined, scratch);
        // A tar may also hold what was copied up and is as it was, which is no change.
        assert(apply(driver, copy, tar) >= driver.diffSize(child, undefined), `seed ${seed}`);
        assertEquals(treeOf(driver, copy), tree, `seed ${seed}, copied`);
      }
    });
  }

  failures(): void {
    this.case("a tar cut short leaves the layer incomplete", ({ driver, scratch, reopen }) => {
      makeBase(driver, "bottom");
      driver.create("child", { parent: "bottom" });
      const whole = sampleTar(scratch), cut = `${scratch}/cut.tar`;
      Deno.writeFileSync(cut, Deno.readFileSync(whole).subarray(0, 3000));
      assertThrows(() => apply(driver, "child", cut), VeneerError);

      for (const opened of [driver, reopen()]) {
        assert(opened.layer("child").incomplete);
        assert(opened.exists("child"));
        const calls: (() => void)[] = [
          () => opened.get("child"),
          () => opened.mounts("child"),
          () => diff(opened, "child", undefined, scratch),
          () => lines(opened.changes("child", undefined)),
          () => opened.create("grandchild", { parent: "child" }),
        ];
        for (const call of calls) {
          const error = assertFails("failed precondition", call);
          assert(error.message.includes("incomplete"), error.message);
        }
      }
      apply(driver, "child", whole);
      assert(!driver.layer("child").incomplete);
      assertEquals(lines(driver.changes("child", undefined)), ["A /big", "A /second"]);
    });

    this.case("an incomplete layer starts over, and is removed", ({ driver, scratch }) => {
      driver.create("layer");
      const cut = `${scratch}/cut.tar`;
      const bytes = Deno.readFileSync(sampleTar(scratch));
      // All of the first file, part of the second one.
      Deno.writeFileSync(cut, bytes.subarray(0, bytes.length - 12_000));
      assertThrows(() => apply(driver, "layer", cut), VeneerError);
      Deno.mkdirSync(`${scratch}/other`);
      Deno.writeTextFileSync(`${scratch}/other/only`, "");
      apply(driver, "layer", tarOf(`${scratch}/other`, `${scratch}/other.tar`));
      assertEquals([...treeOf(driver, "layer").keys()], ["/only"]);
      assertThrows(() => apply(driver, "layer", cut), VeneerError);
      driver.remove("layer");
      assert(!driver.exists("layer"));
    });

    this.case("what is no tar changes nothing", ({ driver, scratch }) => {
      makeBase(driver, "bottom");
      driver.create("child", { parent: "bottom" });
      Deno.writeTextFileSync(`${scratch}/text`, "this is not a tar\n".repeat(100));
      assertThrows(() => apply(driver, "child", `${scratch}/text`), VeneerError);
      assert(!driver.layer("child").incomplete);
      verifyBase(driver, "child");
    });

    this.case("a layer in use is not applied to", ({ driver, scratch }) => {
      makeBase(driver, "bottom");
      driver.create("child", { parent: "bottom" });
      const tar = sampleTar(scratch);
      assertFails("in use", () => apply(driver, "bottom", tar));
      driver.get("child");
      assertFails("in use", () => apply(driver, "child", tar));
      driver.put("child");
      verifyBase(driver, "child");
      apply(driver, "child", tar);
    });

    this.case("layers are whole after every failed create", ({ driver, root }) => {
      driver.create("bottom");
      const before = treeNames(root);
      const failing: (() => void)[] = [
        () => driver.create("x", { parent: "none" }),
        () => driver.create("bottom"),
        () => driver.create("x", { storageOptions: new Map([["size", "1G"]]) }),
        () => driver.createReadWrite("x", { storageOptions: new Map([["nothing", "1"]]) }),
      ];
      for (const call of failing) assertThrows(call, VeneerError);
      assertEquals(treeNames(root), before);
    });
  }
}

/** Makes a layer and changes it through its mount. */
export function fill(
  driver: GraphDriver,
  id: string,
  change: (root: string) => void,
  parent?: string,
): void {
  driver.create(id, { parent });
  const root = driver.get(id);
  try {
    change(root);
  } finally {
    driver.put(id);
  }
}

/** A layer with a file and a directory of unusual modes and owners. */
function makeBase(driver: GraphDriver, id: string): void {
  fill(driver, id, (root) => {
    Deno.mkdirSync(`${root}/a subdir`);
    lchownSync(`${root}/a subdir`, 1, 2);
    Deno.chmodSync(`${root}/a subdir`, 0o1705);
    Deno.writeTextFileSync(`${root}/a file`, "content");
    lchownSync(`${root}/a file`, 3, 4);
    Deno.chmodSync(`${root}/a file`, 0o4222);
    lsetxattr(`${root}/a file`, "user.note", new TextEncoder().encode("kept"));
  });
}

function verifyBase(driver: GraphDriver, id: string): void {
  const root = driver.get(id);
  try {
    const entries = [...describeTree(root)].map(([path, text]) =>
      `${path} ${text.split(" ").slice(0, 3).join(" ")}`
    );
    assertEquals(entries, ["/a file file 4222 3:4", "/a subdir directory 1705 1:2"]);
    assertEquals(Deno.readTextFileSync(`${root}/a file`), "content");
    const note = lgetxattr(`${root}/a file`, "user.note");
    assertEquals(new TextDecoder().decode(note), "kept");
  } finally {
    driver.put(id);
  }
}

function rootOf(root: string): [number, number | null, number | null, string] {
  const { mode, uid, gid } = Deno.lstatSync(root);
  const note = lgetxattr(root, "user.root");
  return [mode! & 0o7777, uid, gid, new TextDecoder().decode(note)];
}

/** A layer's whole tree, through its mount. */
export function treeOf(driver: GraphDriver, id: string): Map<string, string> {
  const root = driver.get(id, { readOnly: true });
  try {
    return describeTree(root);
  } finally {
    driver.put(id);
  }
}

/** Applies a tar file; returns what the driver says was applied. */
export function apply(driver: GraphDriver, id: string, tar: string): number {
  return withFd(open(tar, O_RDONLY), (fd) => driver.applyDiff(id, undefined, fd));
}

let tars = 0;

/** A layer's diff as a file in `scratch`. */
export function diff(
  driver: GraphDriver,
  id: string,
  parent: string | undefined,
  scratch: string,
): string {
  const path = join(scratch, `diff-${tars++}.tar`);
  const fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600);
  try {
    const written = driver.diff(id, parent, fd);
    assertEquals(written, Deno.statSync(path).size);
    return path;
  } finally {
    close(fd);
  }
}

/** A tar of two files, the first one large enough to be cut. */
function sampleTar(scratch: string): string {
  Deno.mkdirSync(`${scratch}/sample`, { recursive: true });
  Deno.writeTextFileSync(`${scratch}/sample/big`, "big".repeat(10_000));
  Deno.writeTextFileSync(`${scratch}/sample/second`, "second".repeat(2_000));
  return tarOf(`${scratch}/sample`, `${scratch}/sample.tar`);
}

/** Runs what must fail with a code; returns the error. */
export function assertFails(code: ErrorCode, call: () => void): VeneerError {
  const error = assertThrows(call, VeneerError);
  assertEquals(error.code, code, error.message);
  assertNotEquals(error.message, "");
  assert(!error.message.includes("\n"), "the message is one line");
  return error;
}

/** Loses a layer's count, as if its process had been killed between mounting and counting. */
function forgetCount(driver: GraphDriver, id: string): void {
  Deno.removeSync(join(runState(driver.home), "layers", id));
}

const isMounted = (root: string, path: string) => mountPoints(root).includes(path);

/** Every path below a root. */
function treeNames(root: string): string[] {
  return must("find", root, "-xdev").trim().split("\n").sort();
}

/** Everything that a driver took is given back by `put` and `cleanup`. */
function assertNothingLeft({ driver, root }: Store): void {
  for (const { id, references } of driver.layers()) assertEquals([id, references], [id, 0]);
  driver.cleanup();
  assertEquals(mountPoints(root), []);
  const staging = `${driver.home}/.veneer/staging`;
  assertEquals([...Deno.readDirSync(staging)].map(({ name }) => name), []);
}
