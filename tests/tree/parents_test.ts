/**
 * The parents of a layer as one tree, held to what overlay shows of the same directories; and what
 * looking things up there takes.
 */
import { assert, assertEquals, assertLess, assertThrows } from "@std/assert";
import { encode } from "../../ffi/cstring.ts";
import { entryName, nameText } from "../../ffi/entry_name.ts";
import { Stat, tryLstat } from "../../ffi/stat.ts";
import { mount, MS_RDONLY } from "../../ffi/mount.ts";
import { S_IFCHR } from "../../ffi/names.ts";
import { lsetxattr, tryLsetxattr } from "../../ffi/xattr.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import { Parents } from "../../lib/tree/parents.ts";
import { lacksFileSystem, needs, tempDir } from "../support/cases.ts";
import { makeNode, withDirectories } from "../support/tree_entries.ts";
import { randomOf } from "../support/random.ts";
import { openFilesBelow } from "../support/files.ts";
import { cpuTime, limitHere } from "../support/cpu_time.ts";

const lacking = lacksFileSystem("overlay");
const makeOpaque = (path: string) => lsetxattr(path, "trusted.overlay.opaque", encode("y"));
const whiteout = (path: string) => makeNode(path, S_IFCHR);
const makeDirectory = (path: string) => Deno.mkdirSync(path, { recursive: true });

/** Runs `use` on the parents of a layer, all of them directories below one, uppermost first. */
function withParents(
  root: string,
  count: number,
  use: (parents: Parents) => void,
  form: "overlay" | "aufs" = "overlay",
): void {
  const lowers = Array.from({ length: count }, (_, i) => `${root}/${i}`);
  for (const path of [`${root}/upper`, ...lowers]) makeDirectory(path);
  withDirectories([`${root}/upper`], (upper) => {
    using parents = new Parents(upper, lowers, form);
    use(parents);
  });
}

const stat = new Stat();
const find = (parents: Parents, path: string, name: string) =>
  parents.find(path, entryName(name), stat);

/**
 * All that the parents have in a directory and below: each entry's path, inode number and
 * permissions.
 */
function listed(parents: Parents, path = ""): string[] {
  return parents.names(path).sort((a, b) => nameText(a) < nameText(b) ? -1 : 1).flatMap((name) => {
    const below = path === "" ? nameText(name) : `${path}/${nameText(name)}`;
    assert(parents.find(path, name, stat), below);
    const { isDirectory, mode, inode } = stat;
    const line = `${below} ${mode.toString(8)} ${isDirectory ? "" : inode}`;
    return isDirectory ? [line, ...listed(parents, below)] : [line];
  });
}

/** The same of a mounted tree. */
function shown(root: string, path = ""): string[] {
  const names = [...Deno.readDirSync(`${root}/${path}`)].map(({ name }) => name).sort();
  return names.flatMap((name) => {
    const below = path === "" ? name : `${path}/${name}`;
    const stat = tryLstat(`${root}/${below}`);
    if (stat === undefined) return []; // Overlay lists a whiteout that hides nothing.
    const { isDirectory, mode, inode } = stat;
    const line = `${below} ${mode.toString(8)} ${isDirectory ? "" : inode}`;
    return isDirectory ? [line, ...shown(root, below)] : [line];
  });
}

/** Puts directories, files, links, whiteouts and opaque marks into a layer. */
function fillAtRandom(root: string, random: (limit: number) => number): void {
  for (let i = 0; i < 12; i++) {
    const path = `${root}/` +
      Array.from({ length: 1 + random(4) }, () => "abc"[random(3)]).join("/");
    const makes = [
      () => Deno.mkdirSync(path, { recursive: true, mode: 0o700 + random(8) }),
      () => Deno.mkdirSync(path, { recursive: true, mode: 0o700 + random(8) }),
      () => Deno.writeTextFileSync(path, ""),
      () => Deno.symlinkSync("a", path),
      () => whiteout(path),
      () => void tryLsetxattr(path, "trusted.overlay.opaque", encode("y")),
    ];
    try {
      makes[random(makes.length)]();
    } catch {
      // Something else is there, or nothing above.
    }
  }
}

for (const count of [2, 5, 70]) {
  needs(lacking, `parents: of ${count} layers, the tree that overlay shows`, () => {
    for (let seed = 1; seed <= (count > 10 ? 6 : 60); seed++) {
      using dir = tempDir();
      withParents(dir.path, count, (parents) => {
        const random = randomOf(seed);
        for (let i = 0; i < count; i++) fillAtRandom(`${dir.path}/${i}`, random);
        Deno.mkdirSync(`${dir.path}/merged`);
        const lowers = Array.from({ length: count }, (_, i) => `${i}`).join(":");
        const former = Deno.cwd();
        try {
          Deno.chdir(dir.path); // So that the paths of many fit into a page.
          const options = `lowerdir=${lowers}`;
          mount({
            source: "overlay",
            target: "merged",
            type: "overlay",
            flags: MS_RDONLY,
            data: options,
          });
        } finally {
          Deno.chdir(former);
        }
        const expected = shown(`${dir.path}/merged`);
        assertEquals(listed(parents), expected, `seed ${seed}`);
        // In any order, and for what is not there.
        const paths = expected.map((line) => line.split(" ")[0]);
        for (let i = 0; i < 40; i++) {
          const at = paths.length === 0 ? "" : paths[random(paths.length)];
          const below = shown(`${dir.path}/merged`).some((line) => line.startsWith(`${at}/`));
          if (below) assert(parents.has(at), at);
          assertEquals(find(parents, `${at}/none`, "x"), undefined);
        }
      });
    }
  });
}

Deno.test("parents: what the layer itself hides counts, and a name of its own does not", () => {
  using dir = tempDir();
  withParents(dir.path, 2, (parents) => {
    makeDirectory(`${dir.path}/1/a/b`);
    Deno.writeTextFileSync(`${dir.path}/1/a/b/file`, "");
    makeDirectory(`${dir.path}/upper/a/b`);
    Deno.writeTextFileSync(`${dir.path}/upper/a/b/file`, "");
    assertEquals(find(parents, "a/b", "file")?.isLowest, true);
    makeOpaque(`${dir.path}/upper/a`);
    parents.forget();
    assertEquals([parents.has("a"), parents.has("a/b")], [false, false]);
    assertEquals(find(parents, "a/b", "file"), undefined);
    assert(find(parents, "", "a"));
    Deno.removeSync(`${dir.path}/upper/a`, { recursive: true });
    whiteout(`${dir.path}/upper/a`);
    parents.forget();
    assert(find(parents, "", "a"));
    assertEquals(find(parents, "a/b", "file"), undefined);
  });
});

Deno.test("parents: aufs's form", () => {
  using dir = tempDir();
  withParents(dir.path, 3, (parents) => {
    const put = (path: string) => Deno.writeTextFileSync(`${dir.path}/${path}`, "");
    for (const lower of [0, 1, 2]) makeDirectory(`${dir.path}/${lower}/d/e`);
    put("2/d/low");
    put("2/d/e/deep");
    put("1/d/.wh.low");
    put("1/d/mid");
    put("0/d/e/.wh..wh..opq");
    put("2/gone");
    put("1/.wh.gone");
    put("0/.wh..wh.aufs");
    assertEquals(parents.names("d").map(nameText).sort(), ["e", "mid"]);
    assertEquals(parents.names("d/e"), []);
    assertEquals(parents.names("").map(nameText), ["d"]);
    assertEquals(find(parents, "d", "low"), undefined);
    assertEquals(find(parents, "", "gone"), undefined);
    assertEquals(find(parents, "d/e", "deep"), undefined);
    put("upper/.wh.d");
    parents.forget();
    assertEquals([parents.has("d"), find(parents, "", "d")?.isLowest], [false, false]);
  }, "aufs");
});

Deno.test("parents: a directory whose content is elsewhere is refused", () => {
  using dir = tempDir();
  withParents(dir.path, 2, (parents) => {
    for (const path of ["0/a", "1/a"]) makeDirectory(`${dir.path}/${path}`);
    lsetxattr(`${dir.path}/1/a`, "trusted.overlay.redirect", encode("/x"));
    assertEquals(parents.has("a"), true);
    lsetxattr(`${dir.path}/0/a`, "trusted.overlay.redirect", encode("/x"));
    parents.forget();
    const error = assertThrows(() => parents.has("a"), VeneerError, "trusted.overlay.redirect");
    assertEquals((error as VeneerError).code, "failed precondition");
    assertEquals(openFilesBelow(dir.path).length, 1, "nothing but the upper is open");
  });
});

Deno.test("parents: few directories are open, however many layers there are", () => {
  using dir = tempDir();
  withParents(dir.path, 300, (parents) => {
    for (let i = 0; i < 300; i++) makeDirectory(`${dir.path}/${i}/a/b`);
    Deno.writeTextFileSync(`${dir.path}/299/a/b/low`, "");
    Deno.writeTextFileSync(`${dir.path}/298/a/b/lower`, "");
    for (const [path, name] of [["a/b", "low"], ["a/b", "lower"], ["a/b", "none"], ["", "b"]]) {
      assertEquals(
        find(parents, path, name)?.isLowest,
        name.startsWith("low") ? name === "low" : undefined,
      );
      assertLess(openFilesBelow(dir.path).length, 70);
    }
    parents.forget();
    assertEquals(openFilesBelow(dir.path).length, 1);
  });
});

Deno.test("parents: the cost of a path grows with its length", () => {
  using dir = tempDir();
  const depth = 1900, deep = Array(depth).fill("a").join("/");
  withParents(dir.path, 4, (parents) => {
    for (const lower of [0, 1, 2, 3]) makeDeep(`${dir.path}/${lower}`, depth);
    // By steps, as a walk goes; and each time all of it.
    const started = cpuTime();
    for (let end = 0; end <= deep.length; end += 2) {
      assertEquals(parents.has(deep.slice(0, Math.max(0, end - 1))), true);
    }
    for (let i = 0; i < 20; i++) {
      parents.forget();
      assertEquals(parents.has(deep), true);
    }
    assertLess(cpuTime() - started, limitHere(15_000));
  });
});

/** A chain of directories that is longer than one call makes. */
function makeDeep(root: string, depth: number): void {
  makeDirectory(`${root}/${Array(depth).fill("a").join("/")}`);
}
