/** Entries in every order: those that replace, hide, link to or lie below one another. */
import { dir, file, hardlink, symlink } from "../support/tar_builder.ts";
import { hostile, type HostileTar, type Part } from "./hostile_tar.ts";

const PIECES: Readonly<Record<string, Part>> = {
  "directory": dir("d", { mode: 0o750 }),
  "file": file("d", "file"),
  "link up": symlink("..", "d"),
  "link out": symlink("../../../../etc", "d"),
  "link to the parent's": symlink("pdir", "d"),
  "hard link": hardlink("d/x", "d"),
  "fifo": { name: "d", type: "6" },
  "device": { name: "d", type: "3", major: 0, minor: 0 },
  "file below": file("d/x", "below"),
  "directory below": dir("d/x"),
  "link below": symlink("../..", "d/x"),
  "hard link below": hardlink("d", "d/x"),
  "whiteout": file(".wh.d"),
  "whiteout below": file("d/.wh.x"),
  "opaque": file("d/.wh..wh..opq"),
};

/** Sequences that are worth naming. */
const SEQUENCES: Readonly<Record<string, readonly Part[]>> = {
  "a hard link to what was whited out": [file(".wh.pfile"), hardlink("pfile", "v")],
  "a hard link to what will be": [hardlink("pfile", "v"), file(".wh.pfile")],
  "a hard link to a whiteout": [file(".wh.pfile"), hardlink(".wh.pfile", "v")],
  "a hard link below an opaque directory": [file("pdir/.wh..wh..opq"), hardlink("pdir/x", "v")],
  "a hard link to itself": [hardlink("h", "h")],
  "hard links in a ring": [hardlink("b", "a"), hardlink("a", "b")],
  "everything whited out": [
    file(".wh.pfile"),
    file(".wh.pdir"),
    file(".wh.plink"),
    file(".wh.up"),
    file(".wh.abs"),
    file(".wh.loop"),
    file(".wh.dangling"),
    file(".wh..wh..opq"),
  ],
  "the root again and again": [
    dir("./", { mode: 0 }),
    file("x", "x"),
    dir("/", { mode: 0o7777 }),
    dir(".", { uid: 1, gid: 2 }),
  ],
  "a link swapped for a directory in use": [
    dir("d"),
    file("d/a", "x"),
    symlink("../../../../etc", "d"),
    file("d/passwd", "owned"),
    dir("d"),
    file("d/b", "x"),
  ],
  "a directory in use swapped for a link, deeper": [
    dir("a"),
    dir("a/b"),
    dir("a/b/c"),
    file("a/b/c/1", "x"),
    symlink("../../../../..", "a/b"),
    file("a/b/c/2", "x"),
    file("a/b/victim", "owned"),
  ],
  "the parent's link made a directory": [dir("up"), file("up/victim", "owned")],
  "the parent's directory made a link": [symlink("../../../..", "pdir"), file("pdir/victim", "x")],
  "one name 300 times": Array.from(
    { length: 300 },
    (_, i) => i % 2 === 0 ? dir("d") : symlink("../../../..", "d"),
  ),
};

export function* oddOrders(): Generator<HostileTar> {
  const pieces = Object.entries(PIECES);
  for (const [one, first] of pieces) {
    for (const [two, second] of pieces) {
      yield hostile("orders", `${one}, ${two}`, [first, second]);
      for (const [three, third] of pieces) {
        // Of the triples those that come back to the name: the rest says little more than the pairs.
        if (one !== three && !three.startsWith("file below") && three !== "whiteout") continue;
        yield hostile("orders", `${one}, ${two}, ${three}`, [first, second, third]);
      }
    }
  }
  for (const [what, parts] of Object.entries(SEQUENCES)) yield hostile("orders", what, parts);
}
