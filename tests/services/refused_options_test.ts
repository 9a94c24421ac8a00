/** Options that a store does not support: the service does not start with them. */
import { assertMatch } from "@std/assert";
import { join } from "@std/path";
import { lacksFileSystem, needs, run, tempDir } from "../support/cases.ts";
import { PROGRAM, refusal } from "../support/commands.ts";
import type { ErrorCode } from "../../lib/base/errors.ts";

/** The error of a service that is started with these options. */
function refused(code: ErrorCode, ...options: string[]): string {
  using directory = tempDir();
  const store = ["--root", directory.path, "--driver", "overlay2", ...options];
  const serve = ["serve", "containerd", "--address", join(directory.path, "v.sock")];
  return refusal(code, run("timeout", "300", ...PROGRAM, ...store, ...serve));
}

const lacking = lacksFileSystem("overlay");

needs(lacking, "service: a limit that its file system cannot keep is refused at the start", () => {
  assertMatch(
    refused("not supported", "-o", "snapshot.size=10M"),
    /snapshot.size and snapshot.inodes: .*prjquota/,
  );
});

needs(lacking, "service: mapped ids are refused at the start beside maps of the store", () => {
  const maps = ["--uidmap", "0:1000:10", "--gidmap", "0:1000:10"];
  const message = refused("invalid argument", "-o", "snapshot.remap=true", ...maps);
  assertMatch(message, /without id maps of its own/);
});
