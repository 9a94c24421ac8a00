/** What cannot be deleted, or read, keeps no other layer from anything. */
// @runs on ext4, xfs, btrfs, guest ext4
// @runs long on guest xfs
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { O_RDONLY, open, withFd } from "../../../ffi/files.ts";
import { openDriver } from "../../support/drivers.ts";
import type { VeneerError } from "../../../lib/base/errors.ts";
import type { GraphDriver } from "../../../lib/graph/driver.ts";
import { IDENTITY } from "../../../lib/base/id_maps.ts";
import { lacksFileSystem, must, needs, TEST_FS, unmountBelow } from "../../support/cases.ts";
import { assertFails } from "../../support/errors.ts";
import { EMPTY_TAR } from "../../support/layers.ts";
import { storeDir } from "../../support/store_dir.ts";
import { whileWritten } from "../../support/writers.ts";
import { names } from "../../support/files.ts";

/** A store of a driver, and where its layers' own directories are. */
class Subject implements Disposable {
  readonly #dir = storeDir();
  readonly root = `${this.#dir.path}/root`;
  warnings: string[] = [];

  constructor(readonly driver: "overlay2" | "btrfs") {}

  open(): GraphDriver {
    this.warnings = [];
    return openDriver({
      root: this.root,
      driver: this.driver,
      options: this.driver === "overlay2" ? ["overlay2.allow_btrfs=true"] : [],
      idMaps: IDENTITY,
      warn: (message) => this.warnings.push(message),
    });
  }

  get home(): string {
    return `${this.root}/${this.driver}`;
  }

  /** A layer's directory, which goes with it. */
  layer(id: string): string {
    return this.driver === "btrfs" ? `${this.home}/subvolumes/${id}` : `${this.home}/${id}`;
  }

  /** Where its own files are. */
  content(id: string): string {
    return this.driver === "btrfs" ? this.layer(id) : `${this.layer(id)}/diff`;
  }

  /** Mounts something on a new directory. */
  mountAt(path: string): void {
    Deno.mkdirSync(path, { recursive: true });
    must("mount", "-t", "tmpfs", "tmpfs", path);
    Deno.writeTextFileSync(`${path}/precious`, "content");
  }

  staged(): string[] {
    return names(`${this.home}/.veneer/staging`);
  }

  [Symbol.dispose](): void {
    unmountBelow(this.#dir.path);
    this.#dir[Symbol.dispose]();
  }
}

const lacking = {
  overlay2: lacksFileSystem("overlay"),
  btrfs: TEST_FS.startsWith("btrfs") ? undefined : "it is not on btrfs",
};

function cases(name: string, body: (subject: Subject) => void | Promise<void>): void {
  for (const driver of ["overlay2", "btrfs"] as const) {
    needs(lacking[driver], `${driver}: ${name}`, async () => {
      using subject = new Subject(driver);
      await body(subject);
    });
  }
}

const ids = (driver: GraphDriver) => driver.layers().map(({ id }) => id);

cases("a layer in which something is mounted is not begun to be removed", (subject) => {
  const driver = subject.open();
  for (const id of ["a", "ab", "b"]) driver.create(id);
  const inner = subject.driver === "btrfs"
    ? `${subject.layer("a")}/in/ner`
    : `${subject.layer("a")}/diff/in/ner`;
  subject.mountAt(inner);
  const { message } = assertFails("in use", () => driver.remove("a"));
  assertStringIncludes(message, `mounted in layer a, at ${inner}; \`umount ${inner}\` first`);
  assertEquals(Deno.readTextFileSync(`${inner}/precious`), "content");
  assertEquals([ids(driver), subject.staged()], [["a", "ab", "b"], []]);
  driver.create("c", { parent: "a" });
  driver.remove("c");
  driver.remove("ab");
  must("umount", inner);
  driver.remove("a");
  assertEquals([ids(driver), subject.staged(), subject.warnings], [["b"], [], []]);
});

cases("what is staged and cannot be deleted is told once, and in nobody's way", (subject) => {
  subject.open().create("other");
  const staging = `${subject.home}/.veneer/staging`;
  subject.mountAt(`${staging}/stuck/in/ner`);
  const driver = subject.open();
  // One warning, that says which entry and why; its id is free.
  const [left, ...more] = subject.staged();
  assert(/^\.left-stuck-[0-9a-f]{8}$/.test(left) && more.length === 0, left);
  const [warning] = subject.warnings;
  assertStringIncludes(warning, `${staging}/${left}`);
  assertStringIncludes(warning, "mount point; unmount it first");
  driver.create("stuck", { parent: "other" });
  assertFails("in use", () => driver.remove("other"));
  assertEquals(ids(driver), ["other", "stuck"]);
  driver.remove("stuck");
  driver.remove("other");
  assertEquals(subject.warnings, [warning]);
  assertEquals(Deno.readTextFileSync(`${staging}/${left}/in/ner/precious`), "content");

  // A cleanup says it, and does what else there is to do.
  const failures: VeneerError[] = [];
  const other = subject.open();
  assertEquals(subject.warnings.length, 1);
  assertEquals(other.cleanup((error) => failures.push(error)), []);
  assertEquals(failures.map(({ message }) => message), [warning]);
  must("umount", `${staging}/${left}/in/ner`);
  assertEquals(driver.cleanup((error) => failures.push(error)), []);
  assertEquals([subject.staged(), failures.length], [[], 1]);
});

cases("a mount on what is staged keeps its id alone from being used", (subject) => {
  const driver = subject.open();
  driver.create("other");
  const place = `${subject.home}/.veneer/staging/stuck`;
  subject.mountAt(place);
  const opens = [() => driver, () => subject.open()];
  for (const open of opens) {
    const opened = open();
    const { message } = assertFails("in use", () => opened.create("stuck"));
    assertStringIncludes(message, "layer stuck: ");
    assertStringIncludes(message, place);
    opened.create("next", { parent: "other" });
    opened.remove("next");
    assertEquals(ids(opened), ["other"]);
    assertEquals(subject.warnings.length, 1);
  }
  must("umount", place);
  driver.create("stuck");
  assertEquals([subject.staged(), ids(driver)], [[], ["other", "stuck"]]);
});

/** What can be wrong with a layer `bad` of overlay2 on `base`, given its directory and its link in `l/`. */
const DAMAGES: Readonly<Record<string, (layer: string, link: string) => void>> = {
  "a link of 5000 letters": (layer) => Deno.writeTextFileSync(`${layer}/link`, "A".repeat(5000)),
  "no link": (layer) => Deno.removeSync(`${layer}/link`),
  "a directory for a link": (layer) => replace(`${layer}/link`, (path) => Deno.mkdirSync(path)),
  "a fifo for a link": (layer) => replace(`${layer}/link`, (path) => must("mkfifo", path)),
  "a lower of garbage": (layer) => Deno.writeTextFileSync(`${layer}/lower`, "garbage\n"),
  "a directory for lower": (layer) => replace(`${layer}/lower`, (path) => Deno.mkdirSync(path)),
  "a fifo for lower": (layer) => replace(`${layer}/lower`, (path) => must("mkfifo", path)),
  "a file for diff": (layer) =>
    replace(`${layer}/diff`, (path) => Deno.writeTextFileSync(path, "content")),
  "a file in the place of its short name": (_, link) =>
    replace(link, (path) => Deno.writeTextFileSync(path, "content")),
  "a directory in the place of its short name": (_, link) =>
    replace(link, (path) => Deno.mkdirSync(path)),
  "a fifo in the place of its short name": (_, link) =>
    replace(link, (path) => must("mkfifo", path)),
  "itself for a parent": (layer, link) =>
    Deno.writeTextFileSync(`${layer}/lower`, `l/${link.slice(link.lastIndexOf("/") + 1)}`),
};

function replace(path: string, make: (path: string) => void): void {
  Deno.removeSync(path, { recursive: true });
  make(path);
}

for (const [what, damage] of Object.entries(DAMAGES)) {
  needs(lacking.overlay2, `overlay2: a damaged layer hides no other and goes: ${what}`, () => {
    using subject = new Subject("overlay2");
    const before = subject.open();
    before.create("base");
    for (const id of ["bad", "good"]) before.create(id, { parent: "base" });
    const name = Deno.readTextFileSync(`${subject.layer("bad")}/link`);
    damage(subject.layer("bad"), `${subject.home}/l/${name}`);

    const driver = subject.open();
    assertEquals(ids(driver), ["bad", "base", "good"]);
    assert(subject.warnings.length <= 1, subject.warnings.join("\n"));
    assertEquals(driver.diffSize("good", undefined), 0);
    driver.get("good");
    driver.put("good");
    driver.create("more", { parent: "good" });
    assertFails("in use", () => driver.remove("base"));
    for (const id of ["more", "good"]) driver.remove(id);
    const failures: VeneerError[] = [];
    driver.cleanup((error) => failures.push(error));
    assertEquals(failures, []);
    driver.remove("bad");
    driver.remove("base");
    assertEquals([ids(driver), subject.staged()], [[], []]);
    const links = [...Deno.readDirSync(`${subject.home}/l`)].filter(({ isSymlink }) => isSymlink);
    // Without a record nobody knows which link was its; that leads nowhere then, and is in nobody's way.
    assertEquals(links.length, what === "no link" ? 1 : 0);
  });
}

cases("an entry of any kind in staging is swept", (subject) => {
  subject.open().create("layer");
  const staging = `${subject.home}/.veneer/staging`;
  Deno.mkdirSync(`${staging}/directory`);
  must("mkfifo", `${staging}/fifo`, `${staging}/directory/link`);
  Deno.writeTextFileSync(`${staging}/file`, "");
  Deno.symlinkSync("/", `${staging}/symlink`);
  const driver = subject.open();
  assertEquals([subject.staged(), subject.warnings, ids(driver)], [[], [], ["layer"]]);
});

cases(
  "a layer that processes write to is removed; what they keep of it goes later",
  async (subject) => {
    const driver = subject.open();
    driver.create("written");
    const inner = `${driver.get("written")}/in/ner`;
    Deno.mkdirSync(inner, { recursive: true });
    driver.put("written");
    await whileWritten(inner, () => {
      driver.remove("written");
      assertEquals(ids(driver), []);
      driver.create("written");
      driver.remove("written");
      // None, if the removal was the faster one.
      const left = subject.staged();
      assertEquals(subject.warnings.length, left.length);
      for (const name of left) {
        assertMatch(name, /^\.left-written-/);
        const [text] = subject.warnings, path = `${subject.home}/.veneer/staging/${name}`;
        const said = `${path} is not deleted: something still writes to ner in it: deno (pid `;
        assert(text.startsWith(said), text);
      }
      subject.open().create("other");
    });
    subject.open().cleanup();
    assertEquals(subject.staged(), []);
  },
);

cases("an apply starts a layer over that processes write to", async (subject) => {
  const driver = subject.open();
  driver.create("written");
  driver.create("child", { parent: "written" });
  const apply = (tar: Uint8Array<ArrayBuffer>) => {
    const path = `${subject.root}/tar`;
    Deno.writeFileSync(path, tar);
    return withFd(open(path, O_RDONLY), (fd) => driver.applyDiff("child", undefined, fd));
  };
  const inner = `${subject.content("child")}/in/ner`;
  Deno.mkdirSync(inner, { recursive: true });
  Deno.writeTextFileSync(`${subject.home}/.veneer/incomplete/child`, "");
  await whileWritten(inner, () => {
    apply(EMPTY_TAR);
    assert(!driver.layer("child").incomplete);
  });
  driver.cleanup();
  assertEquals(subject.staged(), []);
  assertEquals([...driver.changes("child", undefined)], []);
});

cases("layers are listed although the marks of incomplete ones cannot be read", (subject) => {
  const driver = subject.open();
  driver.create("a");
  driver.create("b", { parent: "a" });
  const marks = `${subject.home}/.veneer/incomplete`;
  Deno.removeSync(marks, { recursive: true });
  assertEquals(ids(driver), ["a", "b"]);
  Deno.writeTextFileSync(marks, "");
  assertEquals(ids(driver), ["a", "b"]);
  const [warning, ...more] = subject.warnings;
  assertStringIncludes(warning, `${marks} is not a directory`);
  assertEquals(more, []);
});
