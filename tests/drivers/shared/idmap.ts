/** What tests of mounts with ids mapped share: acting as a user of the host, and seeing owners. */
import { assertEquals } from "@std/assert";
import { must, type Ran, run } from "../../support/cases.ts";
import type { StoreCommands } from "../../support/commands.ts";

/** A map, and the host id of its root. */
export const MAPS = [["0:100000:1000,1000:300000:1", 100_000], [
  "0:500000:65536",
  500_000,
]] as const;

/** Runs shell text in a directory as a user of the host, who has no capabilities. */
export function as(id: number, directory: string, script: string): Ran {
  const who = ["--reuid", `${id}`, "--regid", `${id}`, "--clear-groups"];
  return run("env", "-C", directory, "setpriv", ...who, "sh", "-c", script);
}

/** The owners of files, each as `uid:gid`. */
export const owners = (directory: string, ...names: string[]): string[] =>
  must("env", "-C", directory, "stat", "-c", "%u:%g", ...names).trimEnd().split("\n");

/** A layer's tar, in which root has `etc` and `etc/motd`, and the user 1000 `home`. */
export function ownedTar(store: StoreCommands & { path(name: string): string }): string {
  const tree = store.path("tree"), tar = store.path("layer.tar");
  for (const name of ["etc", "home"]) Deno.mkdirSync(`${tree}/${name}`, { recursive: true });
  Deno.writeTextFileSync(`${tree}/etc/motd`, "hello\n");
  Deno.chownSync(`${tree}/home`, 1000, 1000);
  must("tar", "-C", tree, "-cf", tar, ".");
  return tar;
}

/** Works as the root of a map in a mounted tree of {@linkcode ownedTar}, and looks at it. */
export function useAs(root: number, path: string): void {
  assertEquals(owners(path, ".", "etc/motd"), Array(2).fill(`${root}:${root}`));
  const script =
    "echo more >>etc/motd && mkdir new && echo 1 >new/file && rm -r home && cat etc/motd";
  const { code, stdout, stderr } = as(root, path, script);
  assertEquals({ code, stdout, stderr }, { code: 0, stdout: "hello\nmore\n", stderr: "" });
  assertEquals(owners(path, "new/file", "etc/motd"), Array(2).fill(`${root}:${root}`));
  assertEquals(as(root + 1, path, "echo x >>etc/motd").code, 2, "another user's file");
  // This machine's root has no id there.
  assertEquals(run("touch", `${path}/of-root`).success, false);
}

/** What {@linkcode useAs} has left, as a tar lists it. */
export const USED = ["etc/motd 0/0", "new/ 0/0", "new/file 0/0"];

/** The names and owners of a tar's entries that {@linkcode USED} has. */
export function listed(tar: string): string[] {
  const lines = must("tar", "--numeric-owner", "-tvf", tar).trimEnd().split("\n");
  const entries = lines.map((line) => line.split(/\s+/)).map((w) => `${w.at(-1)} ${w[1]}`);
  return entries.map((line) => line.replace(/^\.\//, ""))
    .filter((line) => /^(etc\/motd|new\/)/.test(line)).sort();
}
