import { confinedAt } from "../support/confined_at.ts";
import { names } from "../support/files.ts";
import { assertEquals, assertThrows, fail } from "@std/assert";
import { SyscallError } from "../../ffi/errno.ts";
import { type MountPlan, type MountPort, performPlan, undoPlan } from "../../lib/mount/plan.ts";
import { EBUSY, EINVAL } from "../../ffi/errno.ts";

/** A port that writes down the calls, and fails those it is told to. */
function recorder(fail: (call: string) => number = () => 0): MountPort & { calls: string[] } {
  const calls: string[] = [];
  const call = (text: string) => {
    calls.push(text);
    const errno = fail(text);
    if (errno) throw new SyscallError("mount", errno, text);
  };
  return {
    calls,
    mount: (step) => call(`${step.kind} ${step.target} ${step.data}`),
    fsmount: (step) => call(`fsmount ${step.target}`),
    unmount: (target, flags) => call(`unmount ${target} ${flags}`),
  };
}

const mountStep = {
  kind: "mount",
  source: "s",
  target: "/t",
  type: "aufs",
  flags: 0,
  data: "br",
} as const;
const append = { kind: "append", target: "/t", type: "aufs", flags: 32, data: "append" } as const;
const plan: MountPlan = { path: "/t", steps: [mountStep, append, append] };

Deno.test("mount plan: steps are carried out in order and undone in reverse", () => {
  const done: string[] = [];
  const prepare = (name: string) =>
    ({
      kind: "prepare",
      name,
      perform: () => done.push(`+${name}`),
      undo: () => done.push(`-${name}`),
    }) as const;
  const steps = [prepare("a"), prepare("b")];
  performPlan({ path: "/", steps }, recorder());
  undoPlan({ path: "/", steps }, recorder(), () => {});
  assertEquals(done, ["+a", "+b", "-b", "-a"]);
});

Deno.test("mount plan: where a step fails, the ones before it are undone and its error is thrown", () => {
  let appends = 0;
  const port = recorder((call) => call.startsWith("append") && ++appends === 2 ? EINVAL : 0);
  const error = assertThrows(() => performPlan(plan, port), SyscallError);
  assertEquals(error.code, "EINVAL");
  assertEquals(port.calls, ["mount /t br", "append /t append", "append /t append", "unmount /t 0"]);
});

Deno.test("mount plan: a mount that fails is explained where its step can, else its own error stands", () => {
  const failing = () => recorder(() => EINVAL);
  const explained = { ...mountStep, explain: () => fail("layer x is gone") };
  assertThrows(() => performPlan({ path: "/t", steps: [explained] }, failing()), Error, "is gone");
  const silent = { ...mountStep, explain: () => {} };
  assertThrows(() => performPlan({ path: "/t", steps: [silent] }, failing()), SyscallError);
  performPlan({ path: "/t", steps: [explained] }, recorder());
});

Deno.test("mount plan: a busy mount is reported and detached", () => {
  const MNT_DETACH = 2;
  const port = recorder((call) => call === "unmount /t 0" ? EBUSY : 0);
  const busy: string[] = [];
  undoPlan(plan, port, (target, error) => busy.push(`${target} ${error.code}`));
  assertEquals(busy, ["/t EBUSY"]);
  assertEquals(port.calls, ["unmount /t 0", `unmount /t ${MNT_DETACH}`]);
});

Deno.test("mount plan: where the plan says so, a busy mount is unmounted again before it counts as in use", () => {
  let busy = 2;
  const port = recorder((call) => call === "unmount /t 0" && busy-- > 0 ? EBUSY : 0);
  const patient = { path: "/t", steps: [{ ...mountStep, busyRetries: 2 }] };
  undoPlan(patient, port, () => fail("it was not in use"));
  assertEquals(port.calls, ["unmount /t 0", "unmount /t 0", "unmount /t 0"]);
  busy = Infinity;
  port.calls.length = 0;
  const told: string[] = [];
  undoPlan(patient, port, (target) => told.push(target));
  assertEquals(told, ["/t"]);
  assertEquals(port.calls, ["unmount /t 0", "unmount /t 0", "unmount /t 0", "unmount /t 2"]);
});

Deno.test("mount plan: a directory that was there is not removed when a later step fails", () => {
  const base = Deno.makeTempDirSync();
  try {
    Deno.mkdirSync(`${base}/there`);
    const directory = { kind: "directory", mode: 0o700, uid: 0, gid: 0 } as const;
    const steps = [
      { ...directory, path: confinedAt(base, "there") },
      { ...directory, path: confinedAt(base, "new") },
      mountStep,
    ];
    assertThrows(() => performPlan({ path: base, steps }, recorder(() => EINVAL)), SyscallError);
    assertEquals(names(base), ["there"]);
  } finally {
    Deno.removeSync(base, { recursive: true });
  }
});
