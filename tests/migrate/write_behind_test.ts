/** What a migration has written goes to disk while it makes more. */
import { assert } from "@std/assert";
import { join } from "@std/path";
import { WriteBehind } from "../../lib/migrate/write_behind.ts";
import { mountImage } from "../runner/images.ts";
import { lacksFileSystem, must, needs } from "../support/cases.ts";
import { storeDir } from "../support/store_dir.ts";
import { confinedAt } from "../support/confined_at.ts";
import { until } from "../support/processes.ts";

const STEP = 64 << 20;

/** Whether ext4 has no place on disk for a file yet, since none of it was written out. */
const isInMemory = (path: string) => must("filefrag", "-v", path).includes("delalloc");

needs(lacksFileSystem("ext4"), "migrate: content goes to disk in the course of it", async () => {
  using dir = storeDir();
  using image = mountImage("ext4", dir.path);
  const first = join(image.mountPoint, "first"), second = join(image.mountPoint, "second");
  Deno.writeFileSync(first, new Uint8Array(1 << 20).fill(1));
  assert(isInMemory(first));
  {
    using writing = new WriteBehind(confinedAt(image.mountPoint));
    writing.begin();
    writing.progress(STEP - 1);
    writing.begin();
    assert(isInMemory(first), "less than a step");
    writing.progress(1);
    await until("the first step", () => !isInMemory(first));
    // The bytes of a member are told as a sum.
    Deno.writeFileSync(second, new Uint8Array(1 << 20).fill(2));
    writing.progress(STEP);
    assert(isInMemory(second), "less than another step");
    writing.progress(STEP + 1);
    await until("the second step", () => !isInMemory(second));
  }
});
