/** The very options that overlay2 mounts with: literals, checked without a mount. */
import { assertEquals, assertThrows } from "@std/assert";
import {
  checkDepth,
  checkLength,
  newStep,
  oldStep,
  type OverlayMount,
  triple,
} from "../../../drivers/overlay2/mount_data.ts";
import { VeneerError } from "../../../lib/base/errors.ts";
import { checkLabel } from "../../../drivers/union/mount_label.ts";

const A = "l/ABCDEFGHIJKLMNOPQRSTUVWXYZ", B = "l/234567ABCDEFGHIJKLMNOPQRST";
const LABEL = "system_u:object_r:container_file_t:s0:c1,c2";

const mount: OverlayMount = {
  home: "/var/lib/veneer/overlay2",
  id: "child",
  target: "/var/lib/veneer/overlay2/child/merged",
  lowers: [A, B],
  upper: { directory: "child/diff", work: "child/work" },
  features: ["index=off"],
  volatile: false,
};

const at = (home: string, id: string): OverlayMount => ({
  ...mount,
  home,
  id,
  target: `${home}/${id}/merged`,
  upper: { directory: `${id}/diff`, work: `${id}/work` },
});

Deno.test("overlay2 new calls: one parameter a directory, absolute", () => {
  assertEquals(newStep(mount, 0), {
    kind: "fsmount",
    source: "overlay",
    target: "/var/lib/veneer/overlay2/child/merged",
    type: "overlay",
    attributes: 0,
    parameters: [
      { key: "index", value: "off" },
      { key: "lowerdir+", value: "/var/lib/veneer/overlay2/l/ABCDEFGHIJKLMNOPQRSTUVWXYZ" },
      { key: "lowerdir+", value: "/var/lib/veneer/overlay2/l/234567ABCDEFGHIJKLMNOPQRST" },
      { key: "upperdir", value: "/var/lib/veneer/overlay2/child/diff" },
      { key: "workdir", value: "/var/lib/veneer/overlay2/child/work" },
    ],
  });
});

Deno.test("overlay2 new calls: flags, label, no upper directory", () => {
  const step = newStep(
    {
      ...mount,
      lowers: ["child/diff", A, B],
      upper: undefined,
      features: ["userxattr"],
      label: LABEL,
    },
    1, // MOUNT_ATTR_RDONLY of linux/mount.h
  );
  assertEquals(step, {
    kind: "fsmount",
    source: "overlay",
    target: "/var/lib/veneer/overlay2/child/merged",
    type: "overlay",
    attributes: 1,
    parameters: [
      { key: "userxattr" },
      { key: "lowerdir+", value: "/var/lib/veneer/overlay2/child/diff" },
      { key: "lowerdir+", value: "/var/lib/veneer/overlay2/l/ABCDEFGHIJKLMNOPQRSTUVWXYZ" },
      { key: "lowerdir+", value: "/var/lib/veneer/overlay2/l/234567ABCDEFGHIJKLMNOPQRST" },
      { key: "context", value: "system_u:object_r:container_file_t:s0:c1,c2" },
    ],
  });
});

Deno.test("overlay2 new calls: relative where a name would pass 255 bytes or hold what overlay parses", () => {
  // A slash, 225 letters, `/l/` and 26 letters are 255 bytes.
  for (
    const [home, relative] of [
      [`/${"x".repeat(225)}`, false],
      [`/${"x".repeat(226)}`, true],
      ["/with,comma", true],
      ["/with:colon", true],
      ["/with\\backslash", true],
      ["/with space", false],
    ] as const
  ) {
    const step = newStep({ ...at(home, "i"), features: [], lowers: [A] }, 0);
    const expected = relative
      ? [
        { key: "lowerdir+", value: A, path: true },
        { key: "upperdir", value: "i/diff", path: true },
        { key: "workdir", value: "i/work", path: true },
      ]
      : [
        { key: "lowerdir+", value: `${home}/${A}` },
        { key: "upperdir", value: `${home}/i/diff` },
        { key: "workdir", value: `${home}/i/work` },
      ];
    assertEquals(step.kind === "fsmount" && step.parameters, expected, home);
    assertEquals(step.kind === "fsmount" && step.from, relative ? home : undefined, home);
  }
});

Deno.test("overlay2 mount(2): the string that Docker passes", () => {
  assertEquals(oldStep({ ...mount, label: LABEL, volatile: true }, 0), {
    kind: "mount",
    source: "overlay",
    target: "/var/lib/veneer/overlay2/child/merged",
    type: "overlay",
    flags: 0,
    data: "index=off,lowerdir=/var/lib/veneer/overlay2/l/ABCDEFGHIJKLMNOPQRSTUVWXYZ:" +
      "/var/lib/veneer/overlay2/l/234567ABCDEFGHIJKLMNOPQRST,upperdir=/var/lib/veneer/overlay2/child/diff," +
      'workdir=/var/lib/veneer/overlay2/child/work,volatile,context="system_u:object_r:container_file_t:s0:c1,c2"',
  });
});

Deno.test("overlay2 mount(2): relative where a page is too short or the home holds what overlay parses", () => {
  const relative =
    "index=off,lowerdir=l/ABCDEFGHIJKLMNOPQRSTUVWXYZ:l/234567ABCDEFGHIJKLMNOPQRST,upperdir=child/diff,workdir=child/work";
  for (const home of ["/a,b", "/a:b", "/a\\b", `/${"long/".repeat(220)}`]) {
    const step = oldStep(at(home, "child"), 1);
    assertEquals(step, {
      kind: "mount",
      source: "overlay",
      target: `${home}/child/merged`,
      type: "overlay",
      flags: 1,
      data: relative,
      from: home,
    });
  }
});

Deno.test("overlay2 mount(2): 128 layers fit a page with a label, and what does not is said", () => {
  const lowers = Array.from({ length: 128 }, () => A);
  const id = "0".repeat(64);
  const step = oldStep({ ...at(mount.home, id), lowers, label: LABEL }, 0);
  // index=off, + lowerdir= 128 names of 28 bytes and 127 colons, ,upperdir= and ,workdir= of 69, ,context="".
  assertEquals(
    step.kind === "mount" && step.data.length,
    10 + 9 + 128 * 28 + 127 + 10 + 69 + 9 + 69 + 11 + LABEL.length,
  );
  const error = assertThrows(
    () => oldStep({ ...at(mount.home, id), lowers, label: "x".repeat(300) }, 0),
    VeneerError,
    "the mount label has 300 bytes, and there is room for 197; use a shorter label",
  );
  assertEquals(error.code, "limit exceeded");
  assertThrows(
    () => oldStep({ ...mount, lowers: Array.from({ length: 200 }, () => A) }, 0),
    VeneerError,
    "mount(2) takes 4095",
  );
});

Deno.test("overlay2 new calls: a label is at most 255 bytes", () => {
  newStep({ ...mount, label: "x".repeat(255) }, 0);
  const error = assertThrows(() => newStep({ ...mount, label: "x".repeat(256) }, 0), VeneerError);
  assertEquals(error.code, "limit exceeded");
  assertEquals(
    error.message,
    "layer child: the mount label has 256 bytes, and there is room for 255; use a shorter label",
  );
});

Deno.test("overlay2 labels that options cannot hold are refused", () => {
  checkLabel(LABEL);
  for (const label of ['a"b', "a\\b", "a\nb", "a\0b"]) {
    assertEquals(assertThrows(() => checkLabel(label), VeneerError).code, "invalid argument");
  }
});

Deno.test("overlay2 triples", () => {
  assertEquals(triple({ ...mount, home: "/a,b:c\\d e" }), {
    type: "overlay",
    source: "overlay",
    options: [
      "workdir=/a\\,b\\:c\\\\d e/child/work",
      "upperdir=/a\\,b\\:c\\\\d e/child/diff",
      "lowerdir=/a\\,b\\:c\\\\d e/l/ABCDEFGHIJKLMNOPQRSTUVWXYZ:/a\\,b\\:c\\\\d e/l/234567ABCDEFGHIJKLMNOPQRST",
      "index=off",
    ],
  });
  const lowers = Array.from({ length: 80 }, () => A);
  const error = assertThrows(
    () => checkLength("child", triple({ ...mount, lowers })),
    VeneerError,
  );
  assertEquals(error.code, "limit exceeded");
});

Deno.test("overlay2 depth: 500 layers by the new calls, 128 by mount(2), and what a page holds", () => {
  const deep = (count: number, id = "child") => ({
    ...at(mount.home, id),
    lowers: Array.from({ length: count }, () => A),
  });
  const join = { kind: "join", of: "layers" } as const;
  checkDepth(deep(500), "new", join);
  checkDepth(deep(128), "old", join);
  const { remedy } = assertThrows(
    () => checkDepth(deep(501), "new", join),
    VeneerError,
    "layer child would lie on 501 layers, and 500 is the most that can be mounted",
  );
  assertEquals(remedy, join);
  assertThrows(
    () => checkDepth(deep(129), "old", join),
    VeneerError,
    "129 layers, and 128 is the most that can be mounted",
  );
  // With an id of 200 bytes the options of 128 layers pass a page, and a label's room counts.
  const long = "x".repeat(200);
  assertThrows(
    () => checkDepth(deep(128, long), "old", join),
    VeneerError,
    "use a shorter id",
  );
  checkDepth(deep(120, long), "old", join);
  assertThrows(
    () => checkDepth({ ...deep(120, long), label: "x".repeat(250) }, "old", join),
    VeneerError,
  );
});
