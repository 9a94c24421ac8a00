/** Files that appear when they are complete: what is left of others, whose links are followed, what a kill leaves. */
import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { entryName } from "../../ffi/entry_name.ts";
import {
  close,
  O_CREAT,
  O_DIRECTORY,
  O_RDONLY,
  O_WRONLY,
  open,
  pipe,
  read,
  withFd,
  writeAll,
} from "../../ffi/files.ts";
import { tryLock } from "../../ffi/flock.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import { writeNamed, writeOutputFile } from "../../lib/base/output_file.ts";
import { tempDir } from "../support/cases.ts";
import { chown } from "../support/tree_entries.ts";
import { names } from "../support/files.ts";

const NOBODY = 65534;
const text = (content: string) => (fd: number) => writeAll(fd, new TextEncoder().encode(content));
const write = (path: string, content = "new") => writeOutputFile(path, text(content));
const refusal = (path: string) => assertThrows(() => write(path), VeneerError).message;

Deno.test("output files: a failure leaves what was there, and nothing else", () => {
  using dir = tempDir();
  for (const before of [undefined, "old"]) {
    const file = `${dir.path}/${before}`;
    if (before !== undefined) Deno.writeTextFileSync(file, before);
    const fail = () =>
      writeOutputFile(file, (fd) => {
        text("half")(fd);
        throw new Error("no more");
      });
    assertThrows(fail, Error, "no more");
  }
  assertEquals(names(dir.path), ["old"]);
  assertEquals(Deno.readTextFileSync(`${dir.path}/old`), "old");
  for (const name of ["old", "other"]) {
    write(`${dir.path}/${name}`);
    assertEquals(Deno.readTextFileSync(`${dir.path}/${name}`), "new");
    assertEquals(Deno.statSync(`${dir.path}/${name}`).mode! & 0o777, 0o600);
  }
  assertEquals(names(dir.path), ["old", "other"]);
});

Deno.test("output files: a process that is killed while it writes leaves nothing", async () => {
  using dir = tempDir();
  Deno.writeTextFileSync(`${dir.path}/old`, "old");
  const module = new URL("../../lib/base/output_file.ts", import.meta.url).href;
  const program = `import { writeOutputFile } from ${JSON.stringify(module)};
    writeOutputFile(Deno.args[0], () => { console.log("half"); Deno.stdin.readSync(new Uint8Array(1)); });`;
  for (const name of ["old", "new"]) {
    const child = new Deno.Command(Deno.execPath(), {
      args: ["eval", "--quiet", program, "--", `${dir.path}/${name}`],
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    const reader = child.stdout.getReader();
    assertEquals((await reader.read()).done, false);
    child.kill("SIGKILL");
    reader.releaseLock();
    await child.stdout.cancel();
    await child.stdin.close().catch(() => {});
    assertEquals((await child.status).signal, "SIGKILL");
  }
  assertEquals(names(dir.path), ["old"]);
});

Deno.test("output files: another user's link in a directory for everybody is not followed", () => {
  using dir = tempDir();
  const shared = `${dir.path}/shared`, victim = `${dir.path}/victim`;
  Deno.mkdirSync(shared);
  Deno.chmodSync(shared, 0o1777);
  Deno.writeTextFileSync(victim, "old");
  const link = `${shared}/out.tar`;
  Deno.symlinkSync(victim, link);
  chown(link, NOBODY, NOBODY);
  assertMatch(
    refusal(link),
    /out\.tar is a symbolic link of user 65534 in a directory that everybody/,
  );
  assertEquals(Deno.readTextFileSync(victim), "old");
  // Also where it is the second of two.
  Deno.symlinkSync(link, `${dir.path}/first`);
  assertMatch(refusal(`${dir.path}/first`), /first leads through a symbolic link of user 65534/);
  // Also where a directory on the way is one.
  Deno.mkdirSync(`${dir.path}/private`);
  Deno.writeTextFileSync(`${dir.path}/private/out.tar`, "old");
  Deno.symlinkSync(`${dir.path}/private`, `${shared}/way`);
  chown(`${shared}/way`, NOBODY, NOBODY);
  assertMatch(refusal(`${shared}/way/out.tar`), /leads through a symbolic link of user 65534/);
  assertEquals(Deno.readTextFileSync(`${dir.path}/private/out.tar`), "old");
  chown(`${shared}/way`, 0, 0);
  write(`${shared}/way/out.tar`, "by us");
  assertEquals(Deno.readTextFileSync(`${dir.path}/private/out.tar`), "by us");
  // The directory's owner may, and so may we.
  chown(shared, NOBODY, NOBODY);
  write(link, "by its owner");
  assertEquals(Deno.readTextFileSync(victim), "by its owner");
  chown(shared, 0, 0);
  chown(link, 0, 0);
  write(link, "by us");
  assertEquals(Deno.readTextFileSync(victim), "by us");
  assert(Deno.lstatSync(link).isSymlink);
  // A pipe that somebody else waits at, or that nobody does.
  new Deno.Command("mkfifo", { args: [`${shared}/pipe`] }).outputSync();
  chown(`${shared}/pipe`, NOBODY, NOBODY);
  assertMatch(refusal(`${shared}/pipe`), /is a special file of user 65534/);
  const reader = new Deno.Command("cat", { args: [`${shared}/pipe`], stdout: "null" }).spawn();
  try {
    assertMatch(refusal(`${shared}/pipe`), /is a special file of user 65534/);
  } finally {
    reader.kill();
  }
});

Deno.test("output files: links lead on, and in a circle nowhere", () => {
  using dir = tempDir();
  Deno.mkdirSync(`${dir.path}/sub`);
  Deno.symlinkSync("sub/second", `${dir.path}/first`);
  Deno.symlinkSync("../third", `${dir.path}/sub/second`);
  write(`${dir.path}/first`);
  assertEquals(Deno.readTextFileSync(`${dir.path}/third`), "new");
  // "..", where the link's directory was reached through a link itself, is above the directory.
  Deno.mkdirSync(`${dir.path}/far/deep`, { recursive: true });
  Deno.symlinkSync("far/deep", `${dir.path}/near`);
  Deno.symlinkSync("../above", `${dir.path}/far/deep/up`);
  write(`${dir.path}/near/up`);
  assertEquals(Deno.readTextFileSync(`${dir.path}/far/above`), "new");
  Deno.symlinkSync("circle", `${dir.path}/circle`);
  assertMatch(refusal(`${dir.path}/circle`), /leads through too many symbolic links/);
  for (const directory of [`${dir.path}/sub`, `${dir.path}/`, `${dir.path}/.`, ".."]) {
    assertMatch(refusal(directory), /is a directory; name a file/);
  }
});

Deno.test("output files: what a killed writer left under a name of its own goes with the next, no other's", () => {
  using dir = tempDir();
  const name = () => `.veneer-${crypto.randomUUID()}.new`;
  const left = name(), held = name(), foreign = name(), similar = ".veneer-something.new";
  for (const file of [left, held, foreign, similar]) {
    Deno.writeTextFileSync(`${dir.path}/${file}`, "");
  }
  chown(`${dir.path}/${foreign}`, NOBODY, NOBODY);
  withFd(open(`${dir.path}/${held}`, O_RDONLY), (fd) => {
    assert(tryLock(fd, "exclusive"));
    write(`${dir.path}/out`);
  });
  assertEquals(names(dir.path), [held, foreign, similar, "out"].sort());
});

Deno.test("output files: what others put under a name of our own keeps nobody waiting", () => {
  using dir = tempDir();
  const name = () => `${dir.path}/.veneer-${crypto.randomUUID()}.new`;
  const planted = [name(), name(), name()];
  new Deno.Command("mkfifo", { args: [planted[0]] }).outputSync();
  Deno.symlinkSync("/dev/null", planted[1]);
  Deno.mkdirSync(planted[2]);
  write(`${dir.path}/out`);
  assertEquals(names(dir.path).length, planted.length + 1);
});

Deno.test("output files: a descriptor of this process is written to where it stands", () => {
  using dir = tempDir();
  Deno.symlinkSync("/proc/self/fd", `${dir.path}/fd`);
  const { readable, writable } = pipe();
  for (const path of ["/dev/fd", "/proc/self/fd", `/proc/${Deno.pid}/fd`, `${dir.path}/fd`]) {
    write(`${path}/${writable}`, path);
    const buffer = new Uint8Array(4096);
    assertEquals(new TextDecoder().decode(buffer.subarray(0, read(readable, buffer))), path);
  }
  close(readable);
  close(writable);
  assertMatch(refusal(`/dev/fd/${writable}`), /^\/dev\/fd\/\d+ is not open$/);
  const log = `${dir.path}/log`;
  withFd(open(log, O_WRONLY | O_CREAT, 0o600), (fd) => {
    text("before,")(fd);
    write(`/dev/fd/${fd}`, "between,");
    text("after")(fd);
  });
  assertEquals(Deno.readTextFileSync(log), "before,between,after");
  // A number elsewhere is a name like any other.
  write(`${dir.path}/1`);
  assertEquals(Deno.readTextFileSync(`${dir.path}/1`), "new");
});

Deno.test("output files: on a file system without nameless files, under a name of its own first", () => {
  using dir = tempDir();
  Deno.writeTextFileSync(`${dir.path}/out`, "old");
  withFd(open(dir.path, O_RDONLY | O_DIRECTORY), (directory) => {
    const place = { directory, name: entryName("out"), file: `${dir.path}/out` };
    assertThrows(
      () =>
        writeNamed(place, () => {
          assertEquals(names(dir.path).length, 2);
          throw new Error("no more");
        }),
      Error,
      "no more",
    );
    assertEquals(names(dir.path), ["out"]);
    writeNamed(place, text("new"));
  });
  assertEquals(Deno.readTextFileSync(`${dir.path}/out`), "new");
  assertEquals(names(dir.path), ["out"]);
});
