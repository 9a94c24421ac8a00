/** A machine that lacks what most have: as in a container, where `/dev` is small. */
import { assertEquals, assertMatch } from "@std/assert";
import { PROGRAM, shellWords, TestStore } from "../support/commands.ts";
import { lacksFileSystem, needs, run } from "../support/cases.ts";

/** Has a shell see a `/dev` with three nodes, no block device among them; images of tests may lie in /dev/shm. */
const SMALL_DEV = `
  mount -t tmpfs tmpfs "$SMALL" && for node in null:3 zero:5 urandom:9; do
    mknod -m 666 "$SMALL/\${node%:*}" c 1 "\${node#*:}" || exit 99
  done && mkdir "$SMALL/shm" && mount --rbind /dev/shm "$SMALL/shm" &&
  mount --move "$SMALL" /dev || exit 99`;

needs(lacksFileSystem("overlay"), "a store is used without its block device in /dev", () => {
  using store = new TestStore("--driver", "overlay2");
  const small = store.path("dev");
  Deno.mkdirSync(small);
  const veneer = `veneer() { ${shellWords([...PROGRAM, ...store.options])} "$@"; }`;
  const shell = (script: string) =>
    run(
      ...["env", `SMALL=${small}`, "unshare", "--mount", "--propagation", "private"] as const,
      ...["bash", "-c", `${SMALL_DEV}\n${veneer}\n${script}`],
    );
  const { code, stdout, stderr } = shell(`
    veneer create base && veneer create app --parent base && veneer inspect app >/dev/null &&
      veneer ls -q && veneer rm app && veneer ls -q`);
  assertEquals({ code, stdout }, { code: 0, stdout: "app\nbase\nbase\n" }, stderr);

  const size = shell("veneer create box --parent base --read-write --storage-opt size=10M");
  if (size.code !== 0) {
    assertEquals([size.code, size.stdout], [6, ""]);
    assertMatch(size.stderr, /^veneer: layer box, storage options size and inodes: \/.* is on /);
  }
  const doctor = shell(`veneer doctor`);
  assertMatch(doctor.stdout, /overlay2\n(?: +✓.*\n)+ +[✓!] layers can.*\n/);
});
