/** What overlay2's own cases share: they use the backend, without the graph. */
import * as overlay2 from "../../../drivers/overlay2/driver.ts";
import { takesLowersOneByOne } from "../../../drivers/overlay2/kernel.ts";
import type { LayerBackend } from "../../../lib/graph/backend.ts";
import type { GetOptions } from "../../../lib/graph/driver.ts";
import { IDENTITY } from "../../../lib/base/id_maps.ts";
import { performPlan, undoPlan } from "../../../lib/mount/plan.ts";
import { kernelMountPort } from "../../../lib/mount/port.ts";
import { lacksFileSystem, needs, type TempDir, tempDir } from "../../support/cases.ts";
import { create } from "../../support/backends.ts";

export const lacking = lacksFileSystem("overlay");
export const directory = Deno.env.get("VENEER_TEST_DIR") ?? "/tmp";
export const lackingNew = lacking ??
  (takesLowersOneByOne(directory) ? undefined : "overlay of this kernel does not take lowerdir+");

export type Api = "new" | "old";
export const APIS: readonly [Api, string | undefined][] = [["new", lackingNew], ["old", lacking]];

export function open(
  root: string,
  options: Record<string, string> = {},
  idMaps = IDENTITY,
): LayerBackend {
  const all = new Map(Object.entries({ "overlay2.allow_btrfs": "true", ...options }));
  return overlay2.open({ root, options: all, idMaps, warn: () => {} });
}

export const apiOption = (api: Api) => ({ "overlay2.mount_api": api });

/** Layers `1` to `count`, each with a file of its own. */
export function chain(backend: LayerBackend, count: number): void {
  for (let i = 1; i <= count; i++) {
    create(backend, `${i}`, i === 1 ? undefined : `${i - 1}`);
    Deno.writeTextFileSync(backend.home.join(`${i}`, "diff", `file-${i}`).text, `${i}`);
  }
}

export function withMount<T>(
  backend: LayerBackend,
  id: string,
  use: (root: string) => T,
  options: GetOptions = {},
): T {
  const plan = backend.plan(id, options);
  performPlan(plan, kernelMountPort);
  try {
    return use(plan.path);
  } finally {
    undoPlan(backend.plan(id, {}), kernelMountPort, (target, error) => {
      throw new Error(`${target} is busy`, { cause: error });
    });
  }
}

export function test(name: string, body: (dir: TempDir) => void, lacks = lacking): void {
  needs(lacks, `overlay2 ${name}`, () => {
    using dir = tempDir();
    body(dir);
  });
}
