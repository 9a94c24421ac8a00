/** Every odd target of a link, in each form, and entries that go through such a link. */
import { bytes, dir, file, hardlink, symlink, type TarEntry } from "../support/tar_builder.ts";
import { hostile, type HostileTar, type Part, shown } from "./hostile_tar.ts";
import { gnuLong, paxOf, TARGETS } from "./values.ts";

const FORMS: Readonly<Record<string, (target: string, link: TarEntry) => readonly Part[]>> = {
  header: (target, link) => [{ ...link, link: bytes(target) }],
  pax: (target, link) => [paxOf([["linkpath", bytes(target)]]), { ...link, link: "short" }],
  "gnu long": (target, link) => [gnuLong(target, "K"), { ...link, link: "short", magic: "gnu" }],
};

/** What comes after a link `l`. */
const THROUGH: Readonly<Record<string, readonly Part[]>> = {
  "a file": [file("l/new", "x")],
  "a file over what is there": [file("l/victim", "owned"), file("l/passwd", "owned")],
  "a directory": [dir("l/etc", { mode: 0o777 }), dir("l/new")],
  "a tree": [file("l/a/b/c", "x")],
  "a link": [symlink("..", "l/up"), file("l/up/x", "x")],
  "a hard link out": [hardlink("l/victim", "mine"), file("mine", "owned")],
  "a hard link in": [file("f", "x"), hardlink("f", "l/f")],
  "a whiteout": [file("l/.wh.victim"), file("l/.wh.etc")],
  "an opaque marker": [file("l/.wh..wh..opq")],
  "a directory in its place": [dir("l", { mode: 0o777 }), file("l/x", "x")],
  "a file in its place": [file("l", "x")],
  "its own whiteout": [file(".wh.l"), file("l/x", "x")],
  "dots after it": [file("l/../x", "x"), file("l/./y", "x")],
};

export function* oddLinks(): Generator<HostileTar> {
  for (const target of TARGETS) {
    for (const [form, carry] of Object.entries(FORMS)) {
      for (const type of ["1", "2"]) {
        const kind = type === "1" ? "targets of hard links" : "targets of links";
        const withNul = form === "pax" && target.includes("\0");
        yield hostile(
          kind,
          `${shown(target)} as ${form}`,
          [...carry(target, { name: "l", type }), file("after", "x")],
          withNul ? "refused" : undefined,
        );
      }
    }
    for (const [what, parts] of Object.entries(THROUGH)) {
      if (target.includes("\0")) continue;
      yield hostile("through links", `${what} through ${shown(target)}`, [
        ...FORMS.pax(target, { name: "l", type: "2" }),
        ...parts,
      ]);
    }
  }
  yield* chains();
}

/** Links one after another, and the same link again and again. */
function* chains(): Generator<HostileTar> {
  for (const count of [5, 39, 40, 41, 60]) {
    const chain = Array.from({ length: count }, (_, i) => symlink(`l${i + 1}`, `l${i}`));
    yield hostile("through links", `a chain of ${count}`, [
      dir(`l${count}`),
      ...chain,
      file("l0/x", "x"),
    ]);
    yield hostile("through links", `a chain of ${count} to nothing`, [...chain, file("l0/x", "x")]);
    yield hostile("through links", `${count} steps on the spot`, [
      symlink(".", "s"),
      paxOf([["path", "s/".repeat(count) + "x"]]),
      file("x", "x"),
    ]);
    yield hostile("through links", `${count} steps up`, [
      dir("d"),
      symlink("../../../../..", "d/u"),
      paxOf([["path", "d/u/".repeat(count) + "x"]]),
      file("x", "x"),
    ]);
  }
  for (const deep of [1000, 1400]) {
    const path = "d/".repeat(deep) + "e";
    yield hostile("through links", `a target too long below ${deep} directories`, [
      paxOf([["path", path]]),
      dir("x"),
      paxOf([["path", `${path}/l`], ["linkpath", "y/".repeat(1500) + "z"]]),
      symlink("x", "l"),
      paxOf([["path", `${path}/l/f`]]),
      file("f", "x"),
    ]);
  }
}
