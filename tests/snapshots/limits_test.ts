/** The limits of a new snapshot: by its label, its key and the store's defaults. */
import { assertEquals, assertThrows } from "@std/assert";
import { VeneerError } from "../../lib/base/errors.ts";
import { limitsOf, NO_LIMITS, parseLimits, SIZE_LABEL } from "../../lib/snapshots/limits.ts";
import type { SnapshotKind } from "../../lib/snapshots/snapshotter.ts";

const DEFAULTS = { bytes: 1000, inodes: 10 };

function limits(name: string, parent = "sha256:1", asked?: string, kind: SnapshotKind = "active") {
  const labels = new Map(asked === undefined ? [] : [[SIZE_LABEL, asked]]);
  return limitsOf({ kind, name, parent, labels }, DEFAULTS);
}

Deno.test("snapshot limits: the defaults are for containers, as containerd's clients name them", () => {
  for (const key of ["run", "k8s.io/7/5f3c", "moby/12/a/b", "default/1/x-init", "a/b/extract-1"]) {
    assertEquals(limits(key), DEFAULTS, key);
  }
  const images = [
    "extract-1795-QkVB sha256:ab",
    "default/3/extract-1795-QkVB sha256:ab",
    "moby/12/5f3c-init-key",
    "k8s.io/7/5f3c-remap",
  ];
  for (const key of images) assertEquals(limits(key), NO_LIMITS, key);
  assertEquals(limits("default/1/first layer", ""), NO_LIMITS);
  assertEquals(limits("run", "sha256:1", undefined, "view"), NO_LIMITS);
});

Deno.test("snapshot limits: a label asks for a size, whatever is made", () => {
  assertEquals(limits("run", "sha256:1", "77"), { bytes: 77, inodes: 10 });
  assertEquals(limits("extract-1 x", "sha256:1", "77"), { bytes: 77, inodes: 0 });
  assertEquals(limits("run", "sha256:1", "0"), { bytes: 0, inodes: 10 });
  for (const text of ["1G", "-1", "0x10", " 1", "1e3", "9".repeat(20)]) {
    assertThrows(() => limits("run", "sha256:1", text), VeneerError, "must be a number of bytes");
  }
});

Deno.test("snapshot limits: options are sizes and counts", () => {
  const parse = (...options: [string, string][]) => parseLimits(new Map(options));
  assertEquals(parse(), NO_LIMITS);
  assertEquals(parse(["snapshot.size", "2k"], ["snapshot.inodes", "7"]), {
    bytes: 2048,
    inodes: 7,
  });
  assertThrows(() => parse(["snapshot.inodes", "7k"]), VeneerError, 'snapshot.inodes "7k"');
  assertThrows(() => parse(["snapshot.size", "much"]), VeneerError, 'snapshot.size "much"');
});
