/**
 * One layer and several mount namespaces: a mount in one is not seen in another, and whoever is told a path finds
 * the layer there.
 */
import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { EXIT_STATUS } from "../../lib/cli/exit_status.ts";
import { PROGRAM, shellWords, TestStore } from "../support/commands.ts";
import { assertNothingLeft, home } from "../support/processes.ts";
import { IS_LONG, lacksFileSystem, lacksProgram, mountPoints, needs } from "../support/cases.ts";
import { names } from "../support/files.ts";

const NAMESPACES = 3, PROCESSES = 20;
const ROUNDS = IS_LONG ? 10 : 2;

/**
 * What the processes may take at most, in milliseconds: a deadlock takes longer. A busy machine is given what so many
 * mounts take, one after the other, some times over.
 *
 * @param once what one mount and unmount takes alone
 */
const patience = (once: number) => Math.ceil(120_000 * ROUNDS + 20 * PROCESSES * ROUNDS * once);

/** Mounts, writes through the mount, unmounts; whoever meets a mount of another namespace tries again. */
const JOB = `
job() {
  for ((round = 0; round < ${ROUNDS}; round++)); do
    while true; do
      root=$(veneer mount app 2>>"$log/said"); status=$?
      [ $status = ${EXIT_STATUS["in use"]} ] || break
      sleep $((RANDOM % 2)).$((RANDOM % 10))
    done
    [ $status = 0 ] || { echo "mount: $status" >>"$log/wrong"; return; }
    mountpoint -q "$root" || echo "$root is not mounted in namespace $1" >>"$log/wrong"
    [ -e "$root/base" ] || echo "$root lacks base in namespace $1" >>"$log/wrong"
    echo "$round" >"$root/by-$2-$round" || echo "no write" >>"$log/wrong"
    veneer umount app 2>>"$log/wrong" || echo "umount of $2: $?" >>"$log/wrong"
  done
}
`;

needs(
  lacksFileSystem("overlay") ?? lacksProgram("unshare"),
  `mount namespaces: ${PROCESSES} processes in ${NAMESPACES} mount one layer, write and unmount`,
  async () => {
    using store = new TestStore();
    store.must("create", "base");
    store.must("apply", "base", store.tar("base.tar", { base: "base" }));
    store.must("create", "app", "--parent", "base");
    const log = store.path("log");
    Deno.mkdirSync(log);
    const program = shellWords([...PROGRAM, ...store.options]);
    const before = performance.now();
    store.must("mount", "app");
    store.must("umount", "app");
    const most = patience(performance.now() - before);
    const children = Array.from({ length: NAMESPACES }, (_, namespace) => {
      const jobs = Array.from({ length: PROCESSES }, (_, job) => job)
        .filter((job) => job % NAMESPACES === namespace)
        .map((job) => `job ${namespace} ${job} &`).join("\n");
      const script = `log='${log}'\nveneer() { ${program} "$@"; }\n${JOB}\n${jobs}\nwait
        grep -F '${store.root}/' /proc/self/mountinfo >>"$log/left-$1" || true`;
      return new Deno.Command("timeout", {
        args: [
          ...["--signal=KILL", `${most / 1000}`, "unshare", "--mount", "--propagation"],
          ...["private", "bash", "-c", script, "bash", `${namespace}`],
        ],
        stdin: "null",
      }).spawn();
    });
    const started = performance.now();
    const ended = await Promise.all(children.map((child) => child.status));
    assert(performance.now() - started < most, `they waited for each other: ${wrong(log)}`);
    assertEquals(ended.map(({ code }) => code), Array(NAMESPACES).fill(0), wrong(log));
    assertEquals(wrong(log), "");

    const expected = Array.from(
      { length: PROCESSES },
      (_, job) => Array.from({ length: ROUNDS }, (_, round) => `by-${job}-${round}`),
    ).flat().sort();
    assertEquals(names(join(home(store), "app/diff")), expected);
    for (let namespace = 0; namespace < NAMESPACES; namespace++) {
      const left = Deno.readTextFileSync(join(log, `left-${namespace}`));
      assert(!left.includes("app/merged"), left);
    }
    assertEquals(mountPoints(store.root).filter((point) => point.endsWith("merged")), []);
    assertNothingLeft(store, ["app", "base"]);
  },
);

/** What went wrong, and what commands said beside that the layer is mounted elsewhere. */
function wrong(log: string): string {
  return ["wrong", "said"].filter((name) => names(log).includes(name))
    .flatMap((name) => Deno.readTextFileSync(join(log, name)).split("\n"))
    .filter((line) => line !== "" && !line.includes("is mounted in another mount namespace"))
    .slice(0, 20).join("\n");
}
