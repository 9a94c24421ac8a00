/**
 * Many processes on one store: who loses is told so, and nothing is left over.
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { openDriver } from "../support/drivers.ts";
import type { ErrorCode } from "../../lib/base/errors.ts";
import { EXIT_STATUS } from "../../lib/cli/exit_status.ts";
import { IDENTITY } from "../../lib/base/id_maps.ts";
import { refusal, TestStore } from "../support/commands.ts";
import { assertNothingLeft, end, home, SIZE, start, startApply } from "../support/processes.ts";
import { IS_LONG, lacksFileSystem, mountPoints, must, needs } from "../support/cases.ts";
import { names } from "../support/files.ts";

const lacking = lacksFileSystem("overlay");

// Many at once: two hundred in a long run.

const TIMES = IS_LONG ? 4 : 1;
const OWN = 30 * TIMES, CONTESTED = 2 * TIMES, FIGHTERS = 8 * CONTESTED, LOOKERS = 4 * TIMES;

/**
 * The jobs, all started at once. Each command says who ran what on which layer and how it ended. `own` layers have
 * one job each; the contested ones have eight that all make, mount, write to and remove the same.
 */
const JOBS = `
log=$1
run() { # JOB COMMAND ID ARGS...
  local out status
  out=$(veneer "$2" "$3" "\${@:4}" 2>>"$log.errors"); status=$?
  echo "$1 $2 $3 $status" >>"$log"
  echo "$out"
  return $status
}
write() { # JOB ID
  local root
  root=$(run "$1" mount "$2") || return
  echo "$1" >"$root/by-$1" || echo "$1 write $2 1" >>"$log"
  run "$1" umount "$2" >/dev/null
}
own() {
  run $1 create own-$1 --parent shared-$(($1 % 4)) >/dev/null
  write $1 own-$1
  [ $(($1 % 2)) = 0 ] || run $1 rm own-$1 >/dev/null
}
fight() {
  run $1 create fought-$(($1 % ${CONTESTED})) --parent shared-0 >/dev/null
  write $1 fought-$(($1 % ${CONTESTED}))
  run $1 rm fought-$(($1 % ${CONTESTED})) >/dev/null
}
look() {
  run $1 ls --quiet >/dev/null
  run $1 tree --brief >/dev/null
  run $1 cleanup --json >/dev/null
  run $1 inspect shared-0 >/dev/null
}
for ((i = 0; i < ${OWN}; i++)); do own $i & done
for ((i = 0; i < ${FIGHTERS}; i++)); do fight $((1000 + i)) & done
for ((i = 0; i < ${LOOKERS}; i++)); do look $((2000 + i)) & done
wait
`;

/** The statuses that a command on a contested layer may end with. */
const EXPECTED: Record<string, ErrorCode[]> = {
  create: ["already exists"],
  mount: ["not found"],
  // A layer that one has mounted is there until one unmounts it, whatever the others do.
  umount: [],
  rm: ["not found", "in use"],
};

needs(
  lacking,
  `concurrency: ${
    OWN + FIGHTERS + LOOKERS
  } processes make, mount, change, unmount and remove layers`,
  () => {
    using store = new TestStore();
    const shared = ["shared-0", "shared-1", "shared-2", "shared-3"];
    const tar = store.tar("base.tar", { "etc/issue": "base\n" });
    for (const id of shared) {
      store.must("create", id);
      store.must("apply", id, tar);
    }
    const log = store.path("log");
    const { success, stderr } = store.shell(`set -- '${log}'\n${JOBS}`);
    assert(success && stderr === "", stderr);

    const left = new Map<string, number>();
    const ended = new Map<string, number>();
    for (const line of Deno.readTextFileSync(log).trim().split("\n")) {
      const [job, command, id, text] = line.split(" ");
      const status = Number(text);
      ended.set(`${command} ${status}`, (ended.get(`${command} ${status}`) ?? 0) + 1);
      const isContested = Number(job) >= 1000 && Number(job) < 2000;
      const allowed: number[] = isContested
        ? (EXPECTED[command] ?? []).map((code) => EXIT_STATUS[code])
        : [];
      assert(status === 0 || allowed.includes(status), line);
      if (status !== 0) continue;
      if (command === "create") left.set(id, (left.get(id) ?? 0) + 1);
      if (command === "rm") left.set(id, left.get(id)! - 1);
    }
    const errors = Deno.readTextFileSync(`${log}.errors`).split("\n").filter(Boolean);
    const failed = [...ended].filter(([name]) => !name.endsWith(" 0"));
    assertEquals(errors.filter((line) => !line.startsWith("veneer: layer fought-")), []);
    assertEquals(errors.length, failed.reduce((sum, [, count]) => sum + count, 0));

    assertEquals(ended.get("umount 0"), ended.get("mount 0"));
    assertEquals((ended.get("create 0") ?? 0) + (ended.get("create 4") ?? 0), OWN + FIGHTERS);
    for (let i = 0; i < OWN; i++) assertEquals(left.get(`own-${i}`), i % 2 === 0 ? 1 : 0);
    for (let i = 0; i < CONTESTED; i++) assert([0, 1].includes(left.get(`fought-${i}`)!), `${i}`);
    for (let i = 0; i < OWN; i += 2) {
      const diff = join(home(store), `own-${i}`, "diff");
      assertEquals(names(diff), [`by-${i}`]);
      assertEquals(Deno.readTextFileSync(join(diff, `by-${i}`)), `${i}\n`);
    }
    const existing = [...left].filter(([, count]) => count === 1).map(([id]) => id);
    assertNothingLeft(store, [...shared, ...existing]);
  },
);

needs(
  lacking,
  "concurrency: thirty processes mount one layer, and the last of thirty unmounts",
  () => {
    using store = new TestStore();
    store.must("create", "base");
    store.must("create", "app", "--parent", "base");
    const all = (command: string) =>
      store.shell(`for i in {1..30}; do veneer ${command} app & done; wait`);
    const path = join(home(store), "app/merged");
    assertEquals(all("mount").stdout, `${path}\n`.repeat(30));
    assertEquals(store.json<{ references: number }[]>("ls")[0].references, 30);
    assertEquals(mountPoints(path), [path], "mounted once");
    const { stderr } = all("umount");
    assertEquals(stderr, "");
    assertNothingLeft(store, ["app", "base"]);
  },
);

needs(
  lacking,
  "concurrency: a store that one releases while another uses it hides no mount",
  () => {
    using store = new TestStore();
    store.must("create", "base");
    for (const id of ["a", "b"]) store.must("create", id, "--parent", "base");
    const warnings: string[] = [];
    const driver = openDriver({
      root: store.root,
      driver: "overlay2",
      options: [],
      idMaps: IDENTITY,
      warn: (message) => warnings.push(message),
    });
    driver.get("a");
    driver.put("a");
    assertEquals(mountPoints(store.root), [home(store)], "the process has used it");
    assertEquals(store.must("cleanup"), `released ${home(store)}\n`);
    const path = driver.get("a");
    store.must("mount", "b");
    assert(mountPoints(store.root).includes(path));
    Deno.writeTextFileSync(join(path, "file"), "");
    assertEquals(store.must("changes", "a"), "A /file\n");
    driver.put("a");
    store.must("umount", "b");
    driver.close();
    assertEquals(warnings, []);
    assertNothingLeft(store, ["a", "b", "base"]);
  },
);

needs(lacking, "concurrency: what others mounted below a home is not hidden", () => {
  using store = new TestStore();
  store.must("create", "base");
  store.must("create", "app", "--parent", "base");
  const foreign = join(home(store), "theirs");
  Deno.mkdirSync(foreign);
  must("mount", "-t", "tmpfs", "theirs", foreign);
  Deno.writeTextFileSync(join(foreign, "file"), "");
  store.must("mount", "app");
  assertEquals(names(foreign), ["file"]);
  must("umount", foreign);
  Deno.removeSync(foreign);
  store.must("umount", "app");
  assertNothingLeft(store, ["app", "base"]);
});

// Transfers

needs(
  lacking,
  "concurrency: of two applies to a layer one wins, and the other names it",
  async () => {
    using store = new TestStore();
    store.must("create", "base");
    const { tar, child, writer, rest } = await startApply(store, "base");
    for (const command of [["apply", "base", tar], ["rm", "base"], ["diff", "base"]]) {
      const message = refusal("in use", store.run(...command));
      assertStringIncludes(message, `layer base is being transferred by`);
      assertStringIncludes(message, `${child.pid}`);
    }
    refusal("failed precondition", store.run("mount", "base"));
    await writer.write(rest);
    await writer.close();
    assertEquals(await end(child), { code: 0, success: true, stdout: SIZE, stderr: "" });
    assertEquals(store.must("changes", "base"), "A /first\nA /second\nA /third\n");
    assertNothingLeft(store, ["base"]);
  },
);

needs(lacking, "concurrency: a layer that is read is neither removed nor filled", async () => {
  using store = new TestStore();
  store.must("create", "base");
  const tar = store.tar("base.tar", { first: "1".repeat(4 << 20), second: "2" });
  store.must("apply", "base", tar);
  const child = start(store, "diff", "base");
  const reader = child.stdout.getReader();
  await reader.read();
  for (const command of [["rm", "base"], ["apply", "base", tar]]) {
    const message = refusal("in use", store.run(...command));
    assertStringIncludes(message, `${child.pid}`);
  }
  const other = store.path("other.tar");
  store.must("diff", "base", "--output", other);
  while (!(await reader.read()).done);
  assertEquals((await child.status).code, 0);
  await Promise.all([child.stdin.close(), child.stderr.cancel()]);
  store.must("rm", "base");
  assertNothingLeft(store, []);
});
