/**
 * Newer mount(8) perform what is printed of snapshots: since util-linux 2.39 it uses `fsconfig(2)`. They bring their
 * own C library, and are run by its loader.
 */
import { assert } from "@std/assert";
import { join } from "@std/path";
import { lacksFileSystem, must, needs, tempDir } from "../support/cases.ts";
import { isThere } from "../support/files.ts";
import { mountPrinted } from "../support/printed_mounts.ts";
import { fetched } from "./engines.ts";

for (const suite of ["trixie", "sid"]) {
  const root = fetched(`${suite}-mount`, "usr");
  const lacking = isThere(root)
    ? lacksFileSystem("overlay")
    : `${root} is missing: make test-engines fetches it`;
  needs(lacking, `mount(8) of ${suite} mounts chains of 2, 40, 120 and 400 layers`, () => {
    using dir = tempDir();
    const program = join(dir.path, "mount"),
      libraries = must("sh", "-c", `echo ${root}/lib/*-linux-gnu`);
    const loader = must(
      "sh",
      "-c",
      `echo ${root}/lib*/ld-linux*.so.* ${root}/lib/*-linux-gnu/ld-linux*.so.*`,
    )
      .split(/\s/).find(isThere);
    Deno.writeTextFileSync(
      program,
      `#!/bin/sh\nexec ${loader} --library-path ${libraries.trim()} ${root}/bin/mount "$@"\n`,
      { mode: 0o755 },
    );
    const version = must(program, "--version");
    assert(version.includes("fd-based-mount"), version);
    mountPrinted([2, 40, 120, 400], `${dir.path}:`);
  });
}
