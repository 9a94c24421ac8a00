/**
 * Snapshots that are mounted by several calls, of which a killed process made some.
 *
 *     half_mounts.ts ROOT KEY     # mounts a snapshot, and is killed at the second remount
 *
 * A file system in memory stands for one of aufs, and a directory for its sysfs: branches are
 * written down there as the calls name them.
 */
import { AufsSnapshots } from "../../../drivers/aufs/snapshots.ts";
import { mount } from "../../../ffi/mount.ts";
import { IDENTITY } from "../../../lib/base/id_maps.ts";
import { readMountInfo } from "../../../lib/mount/mountinfo.ts";
import type { MountPort } from "../../../lib/mount/plan.ts";
import { kernelMountPort } from "../../../lib/mount/port.ts";
import { Snapshots } from "../../../lib/snapshots/snapshots.ts";
import { Home } from "../../../lib/store/home.ts";
import { mountNamespace } from "../../../lib/store/mount_namespace.ts";
import { ABLE, Recorder } from "./support.ts";

/** A store at a root, whose mounts of aufs are made up. */
export class HalfMounts implements Disposable {
  readonly snapshots: Snapshots;
  /** The branches of the mount, as far as calls named them. */
  readonly branches: string[] = [];
  appends = 0;

  /** @param killedAt the remount at which this process is killed */
  constructor(readonly root: string, readonly killedAt = Infinity) {
    const home = Home.open(`${root}/snapshots`, "aufs", IDENTITY);
    const backend = new AufsSnapshots(home, IDENTITY, {
      ...ABLE,
      port: new Recorder(root, true),
      sysfs: `${root}/sysfs`,
      aufsMounts: () =>
        readMountInfo().filter(({ type, mountPoint }) =>
          type === "tmpfs" && mountPoint.startsWith(home.path)
        ).map((mount) => ({
          mount: { ...mount, type: "aufs", superOptions: "rw,si=1f" },
          namespace: mountNamespace(),
          pid: String(Deno.pid),
        })),
    });
    const port: MountPort = { ...kernelMountPort, mount: (step) => this.#mount(step) };
    this.snapshots = new Snapshots({ backend, port, warn: ABLE.warn });
  }

  #mount(step: Parameters<MountPort["mount"]>[0]): void {
    if (step.type !== "aufs") return kernelMountPort.mount(step);
    if (step.kind === "append") {
      if (++this.appends === this.killedAt) Deno.kill(Deno.pid, "SIGKILL");
      this.branches.push(step.data.replace("append:", ""));
    } else {
      mount({ source: "tmpfs", target: step.target, type: "tmpfs" });
      this.branches.push(...step.data.replace(/^br:|,.*$/g, "").split(":"));
    }
    const si = `${this.root}/sysfs/si_1f`;
    Deno.mkdirSync(si, { recursive: true });
    for (const [i, branch] of this.branches.entries()) {
      Deno.writeTextFileSync(`${si}/br${i}`, `${branch}\n`);
    }
  }

  [Symbol.dispose](): void {
    this.snapshots.close();
  }
}

if (import.meta.main) {
  const [root, key] = Deno.args;
  new HalfMounts(root, 2).snapshots.mount(key);
}
