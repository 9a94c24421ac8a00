import { assertEquals, assertFalse } from "@std/assert";
import { join } from "@std/path";
import {
  endWatch,
  isMountPoint,
  parseMountInfo,
  readMountInfo,
  watchMountInfoWith,
} from "../../lib/mount/mountinfo.ts";
import { must, tempDir } from "../support/cases.ts";

Deno.test("mountinfo: a line is read as proc(5) describes it", () => {
  assertEquals(
    parseMountInfo(
      "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue",
    ),
    {
      id: 36,
      parentId: 35,
      device: "98:0",
      root: "/mnt1",
      mountPoint: "/mnt2",
      options: ["rw", "noatime"],
      propagation: ["master:1", "shared:2"],
      type: "ext3",
      source: "/dev/root",
      superOptions: "rw,errors=continue",
    },
  );
});

Deno.test("mountinfo: a line without propagation fields is a private mount", () => {
  assertEquals(parseMountInfo("1 0 0:2 / / rw - tmpfs none rw").propagation, []);
});

Deno.test("mountinfo: space, tab, newline, backslash and bytes beyond ASCII in paths are unescaped", () => {
  const line = "1 0 0:2 / /a\\040b\\011c\\012d\\134e\u00e9 rw - tmpfs a\\040b rw";
  assertEquals(parseMountInfo(line).mountPoint, "/a b\tc\nd\\e\u00e9");
  assertEquals(parseMountInfo(line).source, "a b");
});

Deno.test("mountinfo: what the kernel lists holds /proc, and isMountPoint agrees", () => {
  assertEquals(readMountInfo().filter((mount) => mount.mountPoint === "/proc")[0].type, "proc");
  assertEquals(isMountPoint("/proc"), true);
  assertFalse(isMountPoint("/proc/self"));
  assertFalse(isMountPoint("/does/not/exist"));
});

Deno.test("mountinfo: a watched list has what was mounted since, and not what was unmounted", () => {
  using directory = tempDir("watched-");
  const places = ["a", "b"].map((name) => join(directory.path, name));
  const seen = () => watchMountInfoWith(directory.path).map(({ mountPoint }) => mountPoint);
  try {
    assertEquals(seen(), []);
    for (const [i, place] of places.entries()) {
      Deno.mkdirSync(place);
      must("mount", "-t", "tmpfs", "watched", place);
      assertEquals(seen(), places.slice(0, i + 1));
      assertEquals(seen(), places.slice(0, i + 1));
    }
    must("umount", places[0]);
    assertEquals(seen(), [places[1]]);
    must("umount", places[1]);
    assertEquals(seen(), []);
  } finally {
    endWatch();
  }
});
