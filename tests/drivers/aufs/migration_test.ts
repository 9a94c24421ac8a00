/**
 * A store that Docker's aufs driver left, on a kernel without aufs: it is read, and its layers go to overlay2.
 * The store is made of literal files; the program does the rest as a user has it do.
 */
// @runs on ext4
// @runs long on xfs, btrfs
import { assert, assertEquals } from "@std/assert";
import { chmodSync, lchownSync, linkSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { lacksFileSystem, must, type TempDir, TEST_FS } from "../../support/cases.ts";
import { veneer } from "../../support/commands.ts";
import { test } from "./support.ts";
import { describeTree } from "../../support/trees.ts";

const BASE = "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";
const MIDDLE = "d3a1f33e8a5a513092f01bb7eb1c2abf4d711e5105390a3fe1ae2248cfde1391";
const TOP = "2ee2f0fcc5d8c1cba3fdf8d8c44b8c0a3d0c7e2bd3f5a4be7b0fb21da5df3a0b";

/** As Docker's driver and aufs leave it: modes, the metadata of the branches, whiteouts that are hard links. */
function dockerStore(home: string): void {
  for (const part of ["diff", "layers", "mnt"]) {
    mkdirSync(`${home}/${part}`, { recursive: true });
    chmodSync(`${home}/${part}`, 0o700);
  }
  writeFileSync(`${home}/layers/${BASE}`, "");
  writeFileSync(`${home}/layers/${MIDDLE}`, `${BASE}\n`);
  writeFileSync(`${home}/layers/${TOP}`, `${MIDDLE}\n${BASE}\n`);
  for (const id of [BASE, MIDDLE, TOP]) {
    mkdirSync(`${home}/diff/${id}`);
    mkdirSync(`${home}/mnt/${id}`);
  }
  const base = `${home}/diff/${BASE}`;
  for (const path of ["bin", "etc/apt", "var/cache/old"]) {
    mkdirSync(`${base}/${path}`, { recursive: true });
  }
  writeFileSync(`${base}/bin/su`, "setuid");
  lchownSync(`${base}/bin/su`, 0, 42);
  chmodSync(`${base}/bin/su`, 0o4755);
  linkSync(`${base}/bin/su`, `${base}/bin/runas`);
  writeFileSync(`${base}/etc/motd`, "welcome");
  writeFileSync(`${base}/etc/hosts`, "hosts");
  writeFileSync(`${base}/etc/apt/sources`, "sources");
  symlinkSync("motd", `${base}/etc/issue`);
  for (const name of ["a", "b"]) writeFileSync(`${base}/var/cache/old/${name}`, name);

  for (const id of [MIDDLE, TOP]) {
    const branch = `${home}/diff/${id}`;
    // What a mount for writing leaves: a file that whiteouts are links to, and two directories.
    writeFileSync(`${branch}/.wh..wh.aufs`, "", { mode: 0o444 });
    for (const name of [".wh..wh.orph", ".wh..wh.plnk"]) {
      mkdirSync(`${branch}/${name}`, { mode: 0o700 });
    }
  }
  const middle = `${home}/diff/${MIDDLE}`;
  const whiteout = (branch: string, name: string) =>
    linkSync(`${branch}/.wh..wh.aufs`, `${branch}/${name}`);
  mkdirSync(`${middle}/etc`);
  whiteout(middle, "etc/.wh.motd");
  writeFileSync(`${middle}/etc/hosts`, "changed");
  mkdirSync(`${middle}/var/cache/old`, { recursive: true });
  whiteout(middle, "var/cache/old/.wh..wh..opq");
  writeFileSync(`${middle}/var/cache/old/c`, "c");
  whiteout(middle, ".wh.nothing");

  const top = `${home}/diff/${TOP}`;
  mkdirSync(`${top}/etc`);
  writeFileSync(`${top}/etc/motd`, "again");
  whiteout(top, "etc/.wh.apt");
  mkdirSync(`${top}/srv`);
  lchownSync(`${top}/srv`, 33, 33);
}

/** What a container sees of the three, written down by hand. */
const SEEN = [
  "/bin directory 755 0:0",
  "/bin/runas file 4755 0:42 setuid",
  "/bin/su file 4755 0:42 setuid",
  "/etc directory 755 0:0",
  "/etc/hosts file 644 0:0 changed",
  "/etc/issue link 777 0:0 motd",
  "/etc/motd file 644 0:0 again",
  "/srv directory 755 33:33",
  "/var directory 755 0:0",
  "/var/cache directory 755 0:0",
  "/var/cache/old directory 755 0:0",
  "/var/cache/old/c file 644 0:0 c",
];

/** A tree in the same words. */
function seen(root: string): string[] {
  return [...describeTree(root)].map(([path, text]) => {
    const [kind, mode, owner] = text.split(" ");
    const content = kind === "file"
      ? Deno.readTextFileSync(root + path)
      : kind === "link"
      ? Deno.readLinkSync(root + path)
      : "";
    return `${path} ${kind} ${mode} ${owner} ${content}`.trimEnd();
  });
}

/** Runs the program; it must succeed without a word on standard error. */
function run(dir: TempDir, store: string, ...args: string[]): string {
  const { code, stdout, stderr } = veneer("--root", `${dir.path}/${store}`, ...args);
  assertEquals({ code, stderr }, { code: 0, stderr: "" }, args.join(" "));
  return stdout;
}

/** Under user-mode Linux it takes long, and shows no more. */
const elsewhere = TEST_FS === "btrfs"
  ? "aufs does not stand on btrfs"
  : TEST_FS.includes("+")
  ? "it ran on the machine's own kernel"
  : undefined;

test("migration: a store of Docker's is listed and read as it is", (dir) => {
  dockerStore(`${dir.path}/root/aufs`);
  const veneer = (...args: string[]) => run(dir, "root", ...args);
  assertEquals(veneer("ls", "--quiet"), `${[TOP, BASE, MIDDLE].join("\n")}\n`);
  assertEquals(
    veneer("tree"),
    `${BASE}  27 B\n↳ ${MIDDLE}  8 B\n↳ ${TOP}  5 B\n`,
  );
  const inspected = veneer("inspect", TOP);
  assert(inspected.includes(`Parent:      ${MIDDLE}\n`), inspected);
  assert(inspected.includes(`/aufs/diff/${MIDDLE}:`), inspected);
  assertEquals(
    veneer("changes", MIDDLE),
    "C /etc\nC /etc/hosts\nD /etc/motd\nC /var\nC /var/cache\nC /var/cache/old\n" +
      "D /var/cache/old/a\nD /var/cache/old/b\nA /var/cache/old/c\n",
  );
  assertEquals(veneer("changes", "2ee2"), "C /etc\nD /etc/apt\nA /etc/motd\nA /srv\n");
  assertEquals(veneer("diffsize", TOP), "5\n");
  veneer("diff", MIDDLE, "--output", `${dir.path}/middle.tar`);
  assertEquals(
    must("tar", "-tf", `${dir.path}/middle.tar`),
    "etc/\netc/.wh.motd\netc/hosts\nvar/\nvar/cache/\nvar/cache/old/\n" +
      "var/cache/old/.wh..wh..opq\nvar/cache/old/c\n",
  );
  assertEquals(veneer("status").split("\n")[4], "Dirs: 3");
  veneer("rm", TOP);
  assertEquals(veneer("ls", "--quiet"), `${[BASE, MIDDLE].join("\n")}\n`);
  veneer("cleanup");
}, elsewhere);

test(
  "migration: each layer's diff, applied in order, gives the same tree on overlay2",
  (dir) => {
    dockerStore(`${dir.path}/root/aufs`);
    let parent: string[] = [];
    for (const id of [BASE, MIDDLE, TOP]) {
      run(dir, "root", "diff", id, "--output", `${dir.path}/layer.tar`);
      run(dir, "new", "--driver", "overlay2", "create", id, ...parent);
      run(dir, "new", "apply", id, `${dir.path}/layer.tar`);
      parent = ["--parent", id];
    }
    const changes = (store: string, id: string) => run(dir, store, "changes", id);
    for (const id of [BASE, MIDDLE, TOP]) assertEquals(changes("new", id), changes("root", id));
    const path = run(dir, "new", "mount", TOP).trim();
    try {
      assertEquals(seen(path), SEEN);
      const inode = (name: string) => must("stat", "-c", "%i", `${path}/bin/${name}`);
      assertEquals(inode("su"), inode("runas"));
    } finally {
      run(dir, "new", "umount", TOP);
      for (const store of ["root", "new"]) run(dir, store, "cleanup");
    }
  },
  elsewhere ?? lacksFileSystem("overlay"),
);
