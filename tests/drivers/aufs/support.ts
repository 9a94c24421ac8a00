/**
 * What aufs's own cases share. Most of them need no aufs in the kernel: layers are directories, and the calls
 * of a mount are written down instead of made.
 */
import { Aufs } from "../../../drivers/aufs/backend.ts";
import type { AufsEnvironment } from "../../../drivers/aufs/environment.ts";
import { EINVAL, SyscallError } from "../../../ffi/errno.ts";
import { Graph } from "../../../lib/graph/graph.ts";
import type { ForeignUses } from "../../../lib/base/opened.ts";
import type { GraphDriver } from "../../../lib/graph/driver.ts";
import { Home } from "../../../lib/store/home.ts";
import { IDENTITY, type IdMaps } from "../../../lib/base/id_maps.ts";
import type { MountPort } from "../../../lib/mount/plan.ts";
import { kernelMountPort } from "../../../lib/mount/port.ts";
import { mountAt } from "../../../lib/mount/mountinfo.ts";
import { lacksFileSystem, must, needs, type TempDir, TEST_FS } from "../../support/cases.ts";
import { storeDir } from "../../support/store_dir.ts";
import { create } from "../../support/backends.ts";

/** Why aufs has no cases on the file system under test: it cannot stand there, or nothing new would be seen. */
export const refused = TEST_FS === "btrfs"
  ? "aufs does not stand on btrfs"
  : TEST_FS.includes("+") && lacksFileSystem("aufs") !== undefined
  ? "it ran on the machine's own kernel"
  : undefined;

/** Why layers cannot be mounted here, if they cannot. */
export const lacking = lacksFileSystem("aufs") ?? refused;

/** Registers a case that needs no mount of aufs; `lacks` is null where it needs nothing at all. */
export function test(
  name: string,
  body: (dir: TempDir) => void | Promise<void>,
  lacks: string | null | undefined = refused,
): void {
  needs(lacks ?? undefined, `aufs ${name}`, async () => {
    using dir = storeDir();
    await body(dir);
  });
}

/** What a driver works with on a kernel with aufs. */
export const ABLE: AufsEnvironment = {
  backing: "extfs",
  checkMountable: () => undefined,
  port: kernelMountPort,
  mountAt,
  aufsMounts: () => [],
  sysfs: "/nowhere",
  xino: "/run/tmp",
  plinkMaint: "/dev/null",
  // The most that aufs can be built for.
  branchLimit: () => 32767,
  warn: (message) => {
    throw new Error(`a warning: ${message}`);
  },
};

/** The backend at `ROOT/aufs`, as if the kernel had aufs. */
export function open(
  root: string,
  environment: Partial<AufsEnvironment> = {},
  idMaps: IdMaps = IDENTITY,
): Aufs {
  return new Aufs(Home.open(root, "aufs", idMaps), idMaps, { ...ABLE, ...environment });
}

/** A driver that asks a port for mounts. */
export function graphOf(
  backend: Aufs,
  port: MountPort = kernelMountPort,
  warn: (message: string) => void = ABLE.warn,
  foreignUses?: ForeignUses,
): GraphDriver {
  return new Graph({ backend, port, warn, sync: "none", foreignUses });
}

/** A driver on `DIR/root`, where cases have their stores. */
export const openGraph = (dir: TempDir): GraphDriver => graphOf(open(`${dir.path}/root`));

/** Layers by these ids, each on the one before it. */
export function chain(backend: Aufs, ids: readonly string[]): void {
  for (const [i, id] of ids.entries()) create(backend, id, ids[i - 1]);
}

/** A call of the mount port: the type's and the flags' number only where they matter. */
export interface Call {
  readonly call: "mount" | "remount" | "unmount";
  readonly target: string;
  readonly flags: number;
  readonly data?: string;
}

/** A port that writes calls down, with `$R` for the store's root, and fails those of which `fails` says so. */
export class Recorder implements MountPort {
  readonly calls: Call[] = [];
  /** Those of the probe for `dirperm1`, the random part of its name left out. */
  readonly probe: Call[] = [];

  constructor(
    readonly root: string,
    readonly dirperm1: boolean,
    /** With an error's number, or true for `EINVAL`. */
    readonly fails: (call: Call, number: number) => boolean | number = () => false,
  ) {}

  mount(step: Parameters<MountPort["mount"]>[0]): void {
    if (step.type !== "aufs") return kernelMountPort.mount(step);
    if (step.kind === "mount" && step.source !== "none") throw new Error(`source ${step.source}`);
    const call = step.kind === "mount" ? "mount" : "remount";
    this.#record({ call, target: step.target, flags: step.flags, data: step.data });
  }

  fsmount(): void {
    throw new Error("aufs is mounted by mount(2)");
  }

  unmount(target: string, flags: number): void {
    this.#record({ call: "unmount", target, flags });
  }

  #record(call: Call): void {
    const text = (value: string) =>
      value.replaceAll(this.root, "$R")
        .replaceAll(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, "UUID");
    const data = call.data === undefined ? {} : { data: text(call.data) };
    const shown = { ...call, target: text(call.target), ...data };
    if (shown.target.includes("/.probe-")) {
      this.probe.push(shown);
      if (shown.call === "mount" && !this.dirperm1) {
        throw new SyscallError("mount", EINVAL, "probe");
      }
      return;
    }
    this.calls.push(shown);
    const failure = this.fails(shown, this.calls.length);
    if (failure !== false) {
      throw new SyscallError(shown.call, failure === true ? EINVAL : failure, call.target);
    }
  }
}

export const inode = (path: string) => must("stat", "-c", "%i", path).trim();

/**
 * Remembers a copied-up file of a branch as aufs does, by another name of it: its inode in the
 * mount, a dot, and that in the branch. Returns that name.
 */
export function remember(branch: string, inodeInMount: string): string {
  const copy = `${branch}/copy of ${inodeInMount}`;
  Deno.writeTextFileSync(copy, "");
  const name = `${inodeInMount}.${inode(copy)}`;
  Deno.mkdirSync(`${branch}/.wh..wh.plnk`, { recursive: true });
  Deno.linkSync(copy, `${branch}/.wh..wh.plnk/${name}`);
  return name;
}
