/**
 * What GNU tar makes, in each of its formats, compared file by file with what it was made of.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { entryName } from "../../ffi/entry_name.ts";
import { O_RDONLY, open, withFd } from "../../ffi/files.ts";
import { lstat } from "../../ffi/stat.ts";
import { tryMknodat } from "../../ffi/names.ts";
import { lsetxattr } from "../../ffi/xattr.ts";
import { bytes } from "./support/tar_builder.ts";
import { makeTempDir, run, Sandbox, tree } from "./support/tar_layers.ts";

// What GNU tar makes.

/** A tree with something of everything; returns its path. */
function makeSource(): string {
  const top = makeTempDir();
  const source = `${top}/source`;
  const names = ["plain", "späce and ünicode", "n".repeat(255), "new\nline", "-dash"];
  Deno.mkdirSync(`${source}/${"deep/".repeat(60)}`, { recursive: true });
  for (const name of names) Deno.writeTextFileSync(`${source}/${name}`, name.slice(0, 40));
  const long = `${source}/${"deep/".repeat(60)}${"long".repeat(40)}`;
  Deno.writeTextFileSync(long, "long");
  Deno.symlinkSync("t".repeat(200), `${source}/long-link`);
  Deno.linkSync(long, `${source}/hard`);
  Deno.writeFileSync(`${source}/large`, Uint8Array.from({ length: 700_001 }, (_, i) => i * 7 >> 3));
  for (const [name, parts] of [["sparse", 3], ["very-sparse", 60]] as const) {
    using sparse = Deno.openSync(`${source}/${name}`, { write: true, create: true });
    for (let i = 0; i < parts; i++) {
      sparse.seekSync(i * 200_000, Deno.SeekMode.Start);
      sparse.writeSync(bytes(`part ${i}`));
    }
    sparse.truncateSync(parts * 200_000 + 5);
  }
  Deno.writeTextFileSync(`${source}/owned`, "x");
  Deno.chownSync(`${source}/owned`, 1234, 5678);
  Deno.chmodSync(`${source}/owned`, 0o4711);
  lsetxattr(`${source}/owned`, "user.comment", bytes("with = and \n in it"));
  lsetxattr(`${source}/deep`, "trusted.mark", bytes("\0\x01"));
  Deno.chmodSync(`${source}/deep`, 0o1770);
  withFd(open(source, O_RDONLY), (fd) => {
    tryMknodat(fd, entryName("fifo"), 0o010644);
    tryMknodat(fd, entryName("null"), 0o020666, 0x103n);
  });
  Deno.utimeSync(`${source}/plain`, 1.5, 1234567890.25);
  Deno.utimeSync(`${source}/deep`, 1.5, 987654321);
  return source;
}

for (
  const [name, args, drops] of [
    ["gnu", ["--format=gnu"], ["xattrs", "nanos"]],
    ["gnu -S", ["--format=gnu", "-S"], ["xattrs", "nanos"]],
    ["posix", ["--format=posix", "--xattrs", "--xattrs-include=*"], []],
    ["posix -S 0.0", ["--format=posix", "-S", "--sparse-version=0.0"], ["xattrs"]],
    ["posix -S 0.1", ["--format=posix", "-S", "--sparse-version=0.1"], ["xattrs"]],
    ["posix -S 1.0", ["--format=posix", "-S", "--sparse-version=1.0"], ["xattrs"]],
    ["ustar", [
      "--format=ustar",
      "--exclude=deep",
      "--exclude=long-link",
      "--exclude=n*n",
      "--exclude=hard",
    ], [
      "xattrs",
      "nanos",
    ]],
    ["v7", [
      "--format=v7",
      "--exclude=deep",
      "--exclude=long-link",
      "--exclude=n*n",
      "--exclude=hard",
      "--exclude=fifo",
      "--exclude=null",
    ], ["xattrs", "nanos"]],
  ] as const
) {
  Deno.test(`GNU tar's ${name}: the same tree comes out`, () => {
    const source = makeSource();
    try {
      const excluded = args.filter((arg) => arg.startsWith("--exclude="));
      const archive = run("tar", "-C", source, ...excluded, "-cf", "-", ...args, ".");
      for (const workers of [0, 1]) {
        using sandbox = new Sandbox();
        sandbox.apply(archive, { workers });
        const skip = excluded.map((arg) => arg.slice("--exclude=".length));
        const expected = tree(source, { times: true, links: true }).filter((line) =>
          !skip.some((s) => line.startsWith(s === "n*n" ? "nn" : s))
        );
        const simplify = (line: string) => {
          if (drops.some((d) => d === "xattrs")) {
            line = line.replace(/ (user|trusted)\.\S+=.*$/, "");
          }
          if (drops.some((d) => d === "nanos")) line = line.replace(/(\d)\.\d{9}/, "$1");
          return line;
        };
        assertEquals(
          sandbox.tree({ times: true, links: true }).map(simplify),
          expected.map(simplify),
        );
        for (const file of ["large", "sparse", "very-sparse"]) {
          assertEquals(
            Deno.readFileSync(`${sandbox.root}/${file}`),
            Deno.readFileSync(`${source}/${file}`),
          );
        }
        if (args.some((arg) => arg === "-S")) {
          const blocks = lstat(`${sandbox.root}/very-sparse`).blocks;
          assertEquals(blocks <= lstat(`${source}/very-sparse`).blocks, true, `${blocks} blocks`);
        }
      }
    } finally {
      Deno.removeSync(`${source}/..`, { recursive: true });
    }
  });
}
