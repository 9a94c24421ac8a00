/**
 * Mounts as command lines for mount(8). `tests/engines/mount_test.ts` has newer ones perform what the machine's own
 * does here.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { mountCommand } from "../../lib/cli/mount_command.ts";
import { lacksFileSystem, needs } from "../support/cases.ts";
import { mountPrinted } from "../support/printed_mounts.ts";

const overlay = (...options: string[]) => ({ type: "overlay", source: "overlay", options });

/** A path of 40 bytes, by number. */
const path = (number: number, home = "/a home/snapshots") =>
  `${home}/${`${number}`.padStart(8, "0")}/fs`.padEnd(40, "s");

const paths = (count: number, home?: string) =>
  Array.from({ length: count }, (_, i) => path(i, home));

Deno.test("mount command: options that every mount(8) takes are written as they are", () => {
  assertEquals(
    mountCommand(overlay("workdir=/w", "upperdir=/u", "lowerdir=/b:/a", "index=off"), "/mnt"),
    "mount -t overlay overlay /mnt -o workdir=/w,upperdir=/u,lowerdir=/b:/a,index=off",
  );
  assertEquals(
    mountCommand({ type: "bind", source: "/it's", options: ["ro", "rbind"] }, "mnt"),
    "mount -t bind '/it'\\''s' mnt -o ro,rbind",
  );
  assertEquals(
    mountCommand({ type: "tmpfs", source: "none", options: [] }, "/m"),
    "mount -t tmpfs none /m",
  );
});

Deno.test("mount command: a value of more than 255 bytes is left to mount(2)", () => {
  const lowers = (bytes: number) => `lowerdir=/${"x".repeat(bytes - 1)}`;
  assertEquals(
    mountCommand(overlay(lowers(255)), "/mnt"),
    `mount -t overlay overlay /mnt -o ${lowers(255)}`,
  );
  assertEquals(
    mountCommand(overlay(lowers(256)), "/mnt"),
    `LIBMOUNT_FORCE_MOUNT2=always mount -t overlay overlay /mnt -o ${lowers(256)}`,
  );
});

Deno.test("mount command: more than a page has is told from the directory of the layers", () => {
  const command = mountCommand(overlay("upperdir=/u", `lowerdir=${paths(120).join(":")}`), "at");
  const names = paths(120).map((path) => path.replace("/a home/snapshots/", "")).join(":");
  assertEquals(
    command,
    `(cd '/a home/snapshots/' && LIBMOUNT_FORCE_MOUNT2=always mount -t overlay overlay ` +
      `${Deno.cwd()}/at -o upperdir=/u,lowerdir=${names})`,
  );
  // Overlay's own escapes are no part of the directory's name, and stay in those of the layers.
  const odd = paths(110, "/a\\:b").map((path) => `${path}\\,`);
  assertMatch(
    mountCommand(overlay(`lowerdir=${odd.join(":")}`), "/at"),
    /^\(cd \/a:b\/ && .* '?lowerdir=00000000\/fss+\\,:00000001/,
  );
});

Deno.test("mount command: what no mount(2) takes is a layer an option", () => {
  const { length } = "mount -t overlay overlay /mnt -o ";
  const command = mountCommand(overlay("upperdir=/u", `lowerdir=${paths(200).join(":")}`), "/mnt");
  assertEquals(
    command.replaceAll("'", ""),
    `mount -t overlay overlay /mnt -o upperdir=/u,` +
      paths(200).map((path) => `lowerdir+=${path}`).join(","),
  );
  assert(command.length - length > 4095);
});

needs(
  lacksFileSystem("overlay"),
  "mount command: chains of 2, 40 and 120 layers are mounted by what is printed",
  () => {
    mountPrinted([2, 40, 120], "", (command) => {
      const isForced = command.includes("LIBMOUNT_FORCE_MOUNT2=always mount ");
      const [, options] = / -o '?([^']*?)'?\)?$/.exec(command)!;
      const longest = Math.max(
        ...options.split(",").map((option) => option.split("=", 2)[1]?.length ?? 0),
      );
      assert(longest <= 255 || isForced, command);
    });
  },
);
