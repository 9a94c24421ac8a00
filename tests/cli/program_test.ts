/** The program in odd surroundings: one line each, and never the runtime's own words. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { veneer } from "../support/commands.ts";
import { PROGRAM, refusal, shellWords, TestStore } from "../support/commands.ts";
import { EMFILE, SyscallError } from "../../ffi/errno.ts";
import { codeOf } from "../../lib/base/errors.ts";
import { EXIT_STATUS } from "../../lib/cli/exit_status.ts";
import { VERSION } from "../../lib/cli/version.ts";
import { makeDeb } from "../../tools/deb.ts";
import {
  lacksFileSystem,
  lacksProgram,
  must,
  needs,
  notQuick,
  run,
  tempDir,
} from "../support/cases.ts";
import { dir as directory, file, tar } from "../tar/support/tar_builder.ts";

const source = Deno.env.has("VENEER")
  ? undefined
  : "the runtime looks there before the program starts; VENEER names no compiled program";

/** Runs shell text in which `$VENEER` is the program. */
const shell = (script: string) =>
  run("bash", "-c", `veneer() { ${shellWords(PROGRAM)} "$@"; }\n${script}`);

Deno.test("program: an argument that is not UTF-8 is refused, another is taken as it is", () => {
  for (
    const bytes of ["\\xff", "a\\xe4b", "\\xed\\xa0\\x80", "\\xc0\\xaf", "\\xf4\\x90\\x80\\x80"]
  ) {
    const message = refusal("usage", shell(`veneer snapshot stat $'${bytes}'`));
    assertMatch(message, /^an argument is not valid UTF-8; name files by a path that is/);
  }
  const { stderr, code } = shell("veneer --json ls $'\\xff'");
  assertEquals([code, JSON.parse(stderr).error.code], [2, "usage"]);
  using dir = tempDir();
  const root = `${dir.path}/sto\ufffdre`;
  const store = ["--root", root, "--driver", "overlay2", "-o", "overlay2.allow_btrfs=true"];
  assertEquals(veneer(...store, "snapshot", "prepare", "é").code, 0);
  assertMatch(
    refusal("not found", veneer(...store, "snapshot", "stat", "é€😀\ufffd")),
    /"é€😀\ufffd"/,
  );
  veneer(...store, "snapshot", "rm", "é");
  veneer(...store, "snapshot", "cleanup");
});

needs(source, "program: a working directory that is gone is said in one line", () => {
  using dir = tempDir();
  const message = refusal(
    "failed precondition",
    shell(`mkdir ${dir.path}/gone && cd ${dir.path}/gone && rmdir ${dir.path}/gone && veneer ls`),
  );
  assertMatch(message, /^the working directory does not exist any more/);
});

needs(source, "program: without /proc it says so", () => {
  const script = `while umount --lazy /proc 2>/dev/null; do :; done; ${
    shellWords(PROGRAM)
  } version`;
  const ran = run("unshare", "--mount", "--propagation", "private", "bash", "-c", script);
  assertMatch(refusal("incompatible", ran), /^\/proc is not mounted/);
});

Deno.test("program: too low a limit of open files is refused, one that can be raised is raised", () => {
  using dir = tempDir();
  const ls = `veneer --root ${dir.path}/store --driver overlay2 -o overlay2.allow_btrfs=true ls`;
  assertEquals(shell(ls.replace(/ls$/, "create base")).code, 0);
  const message = refusal("limit exceeded", shell(`ulimit -n 100; ${ls}`));
  assertMatch(
    message,
    /^only 100 files may be open at a time, and 512 are needed; raise the limit/,
  );
  assertEquals(shell(`ulimit -n 100; veneer version --json`).code, 0);
  const { code, stderr } = shell(`ulimit -Sn 50; ${ls}`);
  assertEquals([code, stderr], [0, ""]);
  shell(ls.replace(/ls$/, "cleanup"));
});

needs(
  lacksFileSystem("overlay") ?? notQuick,
  "program: the least limit of files is enough for an apply",
  () => {
    using store = new TestStore("--driver", "overlay2");
    const names = Array.from({ length: 600 }, (_, i) => `directory-${i}`);
    const content = "x".repeat(3000);
    const together = names.flatMap((name) => Array.from({ length: 6 }, (_, i) => `${name}/${i}`));
    // From one directory to the next with each file: the Worker has files in as many as it is given.
    const apart = Array.from({ length: 3 }, (_, i) => names.map((name) => `${name}/apart-${i}`));
    const files = [...together, ...apart.flat()].map((name) => file(name, content));
    const directories = names.map((name) => directory(`${name}/`));
    Deno.writeFileSync(store.path("wide.tar"), tar(...directories, ...files));
    store.must("create", "base");
    let highest = 0;
    // Files are written by the Worker, each some milliseconds late, so that it lags as far as it may: with one
    // millisecond only where the other thread takes less for a file.
    for (const delay of [1000, 4000, 16_000]) {
      store.must("create", `top-${delay}`, "--parent", "base");
      const late = ["--inject", `write:delay_enter=${delay}`];
      const trace = ["strace", "-f", "-e", "trace=openat,openat2,write", ...late];
      const command = [
        ...trace,
        "-o",
        store.path("trace"),
        ...PROGRAM,
        ...store.options,
        "apply",
        `top-${delay}`,
        store.path("wide.tar"),
      ];
      const { code, stderr } = run("bash", "-c", 'ulimit -n 512; exec "$@"', "bash", ...command);
      // strace reports a thread that ends in its delay.
      assertEquals([code, stderr.replaceAll(/^strace: .*\n/gm, "")], [0, ""]);
      const opened = Deno.readTextFileSync(store.path("trace")).matchAll(/ = (\d+)$/gm);
      highest = Math.max(...Array.from(opened, ([, fd]) => Number(fd)));
      if (highest > 128) break;
    }
    assert(highest > 128, `only ${highest} files were open: the case shows nothing`);
  },
);

Deno.test("program: what the limit of open files ends is a limit, with the remedy", () => {
  assertEquals(codeOf(new SyscallError("open", EMFILE, "/x")), "limit exceeded");
  const { href } = new URL("../../", import.meta.url);
  const script = `import { Output } from "${href}lib/cli/output.ts";
    import { EMFILE, SyscallError } from "${href}ffi/errno.ts";
    Deno.exit(new Output(false, "warn").error(new SyscallError("open", EMFILE, "/x")));`;
  const { code, stderr } = run(Deno.execPath(), "eval", "--quiet", script);
  assertEquals(code, EXIT_STATUS["limit exceeded"]);
  assertEquals(
    stderr,
    "veneer: open /x: too many open files (EMFILE); raise the limit (ulimit -n)\n",
  );
});

Deno.test("program: a store at a path that is not UTF-8 is refused, however it is named", () => {
  using dir = tempDir();
  const odd = `mkdir ${dir.path}/$'a\\xe4' && ln -s $'a\\xe4' ${dir.path}/link`;
  assertEquals(shell(odd).code, 0);
  for (const root of [".", "store", "./a/b"]) {
    const ran = shell(`cd ${dir.path}/$'a\\xe4' && veneer --root ${root} --driver overlay2 ls`);
    assertMatch(
      refusal("not supported", ran),
      /^--root .* leads to .*, which is not valid UTF-8; /,
    );
  }
  const ran = shell(`veneer --root ${dir.path}/link/store --driver overlay2 snapshot ls`);
  assertMatch(refusal("not supported", ran), /^--root .*link.store leads to .*a.*, which is not/);
  assertEquals([...Deno.readDirSync(`${dir.path}/link`)], []);
});

needs(source, "program: a limit at which the runtime cannot start is refused, or raised", () => {
  using dir = tempDir();
  const ls = `veneer --root ${dir.path}/store --driver overlay2 -o overlay2.allow_btrfs=true ls`;
  assertEquals(shell(ls.replace(/ls$/, "create base")).code, 0);
  // Below this the loader finds no room to open the libraries.
  for (const files of [4, 6, 8, 10, 12, 20]) {
    const message = refusal("limit exceeded", shell(`ulimit -n ${files}; ${ls}`));
    assertMatch(message, /files may be open at a time, and 512 are needed; raise the limit/);
    const json = shell(`ulimit -n ${files}; ${ls} --json`);
    assertEquals([json.code, JSON.parse(json.stderr).error.exit], [11, 11]);
    const { code, stderr } = shell(`ulimit -Sn ${files}; ${ls}`);
    assertEquals([code, stderr], [0, ""], `${files} files`);
  }
  shell(ls.replace(/ls$/, "cleanup"));
});

needs(source, "program: whatever TMPDIR is, nothing depends on it", () => {
  for (const value of ["", "relative", "$'\\xff'", "/nowhere"]) {
    const { code, stdout, stderr } = shell(`TMPDIR=${value} veneer version`);
    assertEquals([code, stderr], [0, ""], `TMPDIR=${value}`);
    assertMatch(stdout, /^veneer /);
  }
});

const TOP = new URL("../..", import.meta.url).pathname;
const installed = Deno.env.get("VENEER") === `${TOP}dist/veneer`
  ? lacksProgram("make")
  : "it installs dist/veneer; VENEER does not name that";

needs(installed, "program: make installs and uninstalls below a PREFIX with a space", () => {
  using dir = tempDir();
  const prefix = `${dir.path}/pre fix`;
  const made = (target: string) =>
    must("make", "-C", TOP, "-o", "dist/veneer", "-o", "build", target, `PREFIX=${prefix}`);
  const files = () => must("find", prefix, "-type", "f").split("\n").filter(Boolean).sort();
  made("install");
  assertEquals(files().map((file) => file.slice(prefix.length)), [
    "/bin/veneer",
    "/lib/systemd/system/veneer-containerd.service",
    "/lib/systemd/system/veneer-docker.service",
    "/share/bash-completion/completions/veneer",
    "/share/fish/vendor_completions.d/veneer.fish",
    "/share/man/man1/veneer.1",
    "/share/zsh/site-functions/_veneer",
  ]);
  assertMatch(must(`${prefix}/bin/veneer`, "--version"), /^veneer \d/);
  const unit = Deno.readTextFileSync(`${prefix}/lib/systemd/system/veneer-containerd.service`);
  assert(unit.includes(`ExecStart="${prefix}/bin/veneer" serve containerd`), unit);
  made("uninstall");
  assertEquals(files(), []);
});

needs(
  installed ?? lacksProgram("dpkg-deb"),
  "program: make deb packs it as it is, with its manual page, and names what it needs",
  async () => {
    using dir = tempDir();
    const package_ = await makeDeb(dir.path, "quick");
    const field = (name: string) => must("dpkg-deb", "--field", package_, name).trim();
    assertEquals([field("Package"), field("Version")], ["veneer", VERSION]);
    assertEquals(field("Recommends"), "libdevmapper1.02.1, libisal2, e2fsprogs | xfsprogs");
    const root = `${dir.path}/root`;
    must("dpkg-deb", "--raw-extract", package_, root);
    // Stripped, it would be a runtime without a program.
    must("cmp", `${TOP}dist/veneer`, `${root}/usr/bin/veneer`);
    must("sh", "-c", `cd "$0" && md5sum --check --quiet --strict DEBIAN/md5sums`, root);
    const shown = must("man", `${root}/usr/share/man/man1/veneer.1.gz`);
    assertMatch(shown, /storage drivers for layers of containers/);
    const owners = must("dpkg-deb", "--contents", package_).trim().split("\n");
    for (const line of owners) assertMatch(line, /^[d-]rw[x-]r-[x-]r-[x-] root\/root /);
  },
);
