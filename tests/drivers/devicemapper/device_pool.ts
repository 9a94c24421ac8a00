/** A thin pool on devices, as a volume group has one. */
import { join } from "@std/path";
import { lacksProgram, must, tempDir } from "../../support/cases.ts";
import type { DevicePool } from "../../peers/docker_without_daemon.ts";

/** The sizes of its devices, in MiB. */
const SIZES = { metadata: 8, data: 512 };

/** Why none can be made here, if none can. */
export const lacksPool = (): string | undefined =>
  lacksProgram("dmsetup") ?? lacksProgram("losetup");

/** Makes one that is there until it is disposed of. */
export function devicePool(name: string): DevicePool & Disposable {
  using scope = new DisposableStack();
  const dir = scope.use(tempDir("pool-"));
  const files = Object.entries(SIZES).map(([name, size]) => {
    const file = join(dir.path, name);
    must("truncate", "-s", `${size}M`, file);
    const loop = must("losetup", "--find", "--show", file).trim();
    scope.defer(() => void must("losetup", "--detach", loop));
    return { file, loop };
  });
  const [metadata, data] = files.map(({ loop }) => loop);
  const table = `0 ${SIZES.data * 2048} thin-pool ${metadata} ${data} 128 0`;
  must("dmsetup", "create", name, "--noudevsync", "--table", table);
  scope.defer(() => void must("dmsetup", "remove", "--noudevsync", "--retry", name));
  const owned = scope.move();
  return {
    name,
    content: () => {
      // The pool writes its metadata out, and begins anew.
      must("dmsetup", "suspend", "--noudevsync", name);
      must("dmsetup", "resume", "--noudevsync", name);
      return must("sha256sum", ...files.map(({ file }) => file));
    },
    [Symbol.dispose]: () => owned.dispose(),
  };
}
