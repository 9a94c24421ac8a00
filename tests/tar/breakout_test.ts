/**
 * Tars that try to leave the layer. Each case checks the exact tree that results and that nothing beside the
 * layer changed, with whiteouts as overlay writes them and as removals.
 *
 * Names are those of the field's own suites (containerd's `TestBreakouts`, moby's archive tests).
 *
 * @module
 */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { lstat } from "../../ffi/stat.ts";
import type { WhiteoutForm } from "../../lib/tree/whiteouts.ts";
import {
  bytes,
  dir,
  file,
  hardlink,
  pax,
  symlink,
  tar,
  type TarEntry,
} from "./support/tar_builder.ts";
import { Sandbox } from "./support/tar_layers.ts";

type Part = TarEntry | Uint8Array;

interface Case {
  /** What the tar holds. */
  readonly parts: readonly Part[];
  /** The resulting tree without attributes, or a word of the refusal. */
  readonly tree?: readonly string[];
  readonly refusal?: string;
  /** Names of one file. */
  readonly same?: readonly [string, string];
  /** Only where the form of whiteouts matters. */
  readonly forms?: readonly WhiteoutForm[];
}

const ETC: readonly Part[] = [dir("etc", { mode: 0o770 }), file("/etc/passwd", "inside")];
const ETC_TREE = ["etc dir", 'etc/passwd file "inside"'];

const CASES: Readonly<Record<string, Case>> = {
  SymlinkAbsolute: {
    parts: [...ETC, symlink("/etc", "localetc"), file("/localetc/unbroken", "x")],
    tree: [...ETC_TREE, 'etc/unbroken file "x"', "localetc link -> /etc"],
  },
  SymlinkUpAndOut: {
    parts: [
      ...ETC,
      dir("dummy"),
      symlink("/dummy/../etc", "localetc"),
      file("/localetc/unbroken", "x"),
    ],
    tree: ["dummy dir", ...ETC_TREE, 'etc/unbroken file "x"', "localetc link -> /dummy/../etc"],
  },
  SymlinkMultipleAbsolute: {
    parts: [
      ...ETC,
      dir("dummy"),
      symlink("/etc", "/dummy/etc"),
      symlink("/dummy/etc", "localetc"),
      file("/dummy/etc/unbroken", "x"),
      file("/localetc/unbroken2", "y"),
    ],
    tree: [
      "dummy dir",
      "dummy/etc link -> /etc",
      ...ETC_TREE,
      'etc/unbroken file "x"',
      'etc/unbroken2 file "y"',
      "localetc link -> /dummy/etc",
    ],
  },
  SymlinkMultipleRelative: {
    parts: [
      ...ETC,
      dir("dummy"),
      symlink("/etc", "/dummy/etc"),
      symlink("./dummy/etc", "localetc"),
      file("/localetc/unbroken", "x"),
    ],
    tree: [
      "dummy dir",
      "dummy/etc link -> /etc",
      ...ETC_TREE,
      'etc/unbroken file "x"',
      "localetc link -> ./dummy/etc",
    ],
  },
  SymlinkEmptyFile: {
    parts: [...ETC, symlink("/etc", "localetc"), file("/localetc/passwd", "")],
    tree: ["etc dir", 'etc/passwd file ""', "localetc link -> /etc"],
  },
  HardlinkRelative: {
    parts: [
      ...ETC,
      dir("breakouts"),
      symlink("../../etc", "breakouts/d1"),
      hardlink("/breakouts/d1/passwd", "breakouts/mypasswd"),
    ],
    same: ["breakouts/mypasswd", "etc/passwd"],
    tree: [
      "breakouts dir",
      "breakouts/d1 link -> ../../etc",
      'breakouts/mypasswd file "inside"',
      ...ETC_TREE,
    ],
  },
  HardlinkDownAndOut: {
    parts: [
      ...ETC,
      dir("breakouts"),
      dir("downandout"),
      symlink("../downandout/../../etc", "breakouts/d1"),
      hardlink("/breakouts/d1/passwd", "breakouts/mypasswd"),
    ],
    same: ["breakouts/mypasswd", "etc/passwd"],
  },
  HardlinkAbsolute: {
    parts: [...ETC, symlink("/etc", "localetc"), hardlink("/localetc/passwd", "localpasswd")],
    same: ["localpasswd", "etc/passwd"],
  },
  HardlinkRelativeLong: {
    parts: [
      ...ETC,
      symlink("../../../../../../../etc", "localetc"),
      hardlink("/localetc/passwd", "localpasswd"),
    ],
    same: ["localpasswd", "etc/passwd"],
  },
  HardlinkRelativeUpAndOut: {
    parts: [
      ...ETC,
      dir("upandout"),
      symlink("upandout/../../../etc", "localetc"),
      hardlink("/localetc/passwd", "localpasswd"),
    ],
    same: ["localpasswd", "etc/passwd"],
  },
  HardlinkDirectRelative: {
    parts: [...ETC, hardlink("../../../../../etc/passwd", "localpasswd")],
    refusal: "leads out of the layer by '..'",
    tree: ETC_TREE,
  },
  HardlinkDirectAbsolute: {
    parts: [...ETC, hardlink("/etc/passwd", "localpasswd")],
    same: ["localpasswd", "etc/passwd"],
  },
  SymlinkParentDirectory: {
    parts: [...ETC, symlink("/etc", ".."), hardlink("/etc/passwd", "localpasswd")],
    refusal: "leads out of the layer by '..'",
    tree: ETC_TREE,
  },
  SymlinkEmptyFilename: {
    parts: [...ETC, symlink("/etc", ""), hardlink("/etc/passwd", "localpasswd")],
    refusal: "name is empty",
    tree: ETC_TREE,
  },
  SymlinkParentRelative: {
    parts: [
      ...ETC,
      symlink("/etc", "localetc/sub/.."),
      hardlink("/etc/passwd", "/localetc/localpasswd"),
    ],
    same: ["etc/localpasswd", "etc/passwd"],
    tree: ["etc dir", 'etc/localpasswd file "inside"', ETC_TREE[1], "localetc link -> /etc"],
  },
  SymlinkSlashEnded: {
    parts: [
      ...ETC,
      dir("localetc/"),
      hardlink("/etc/passwd", "/localetc/localpasswd"),
    ],
    same: ["localetc/localpasswd", "etc/passwd"],
  },
  SymlinkOverrideDirectory: {
    parts: [
      ...ETC,
      dir("localetc/"),
      file("localetc/gone", "x"),
      symlink("/etc", "localetc"),
      hardlink("/etc/passwd", "/localetc/localpasswd"),
    ],
    same: ["etc/localpasswd", "etc/passwd"],
    tree: ["etc dir", 'etc/localpasswd file "inside"', ETC_TREE[1], "localetc link -> /etc"],
  },
  SymlinkOverrideDirectoryRelative: {
    parts: [
      ...ETC,
      dir("dummy/"),
      dir("dummy/local/"),
      symlink("../etc", "dummy/local"),
      hardlink("/etc/passwd", "/dummy/local/localpasswd"),
    ],
    same: ["etc/localpasswd", "etc/passwd"],
  },
  DirectoryOverrideSymlink: {
    parts: [
      ...ETC,
      symlink("/etc", "localetc"),
      dir("/localetc/"),
      hardlink("/etc/passwd", "/localetc/localpasswd"),
    ],
    same: ["localetc/localpasswd", "etc/passwd"],
    tree: [...ETC_TREE, "localetc dir", 'localetc/localpasswd file "inside"'],
  },
  DirectoryOverrideSymlinkAndHardlink: {
    parts: [
      ...ETC,
      symlink("etc", "localetc"),
      hardlink("localetc", "hardetc"),
      dir("/localetc/"),
      hardlink("/etc/passwd", "/localetc/localpasswd"),
      dir("hardetc"),
      file("hardetc/x", "x"),
    ],
    same: ["localetc/localpasswd", "etc/passwd"],
    tree: [
      ...ETC_TREE,
      "hardetc dir",
      'hardetc/x file "x"',
      "localetc dir",
      'localetc/localpasswd file "inside"',
    ],
  },
  WhiteoutRootParent: {
    parts: [...ETC, file(".wh...", "")],
    refusal: "a whiteout of an invalid name",
    tree: ETC_TREE,
  },
  WhiteoutParent: {
    parts: [...ETC, file("etc/.wh...", "")],
    refusal: "a whiteout of an invalid name",
    tree: ETC_TREE,
  },
  WhiteoutRoot: {
    parts: [...ETC, file(".wh.", "")],
    refusal: "a whiteout of an invalid name",
    tree: ETC_TREE,
  },
  WhiteoutCurrentDirectory: {
    parts: [...ETC, file("etc/.wh..", "")],
    refusal: "a whiteout of an invalid name",
    tree: ETC_TREE,
  },
  WhiteoutSymlink: {
    parts: [...ETC, symlink("/etc", "localetc"), file(".wh.localetc", "")],
    tree: [...ETC_TREE, "localetc link -> /etc"],
  },
  WhiteoutSymlinkPath: {
    parts: [...ETC, symlink("/etc", "localetc"), file("localetc/.wh.passwd", "")],
    tree: [...ETC_TREE, "localetc link -> /etc"],
  },
  WhiteoutDirectoryName: {
    parts: [...ETC, dir(".wh.etc"), file(".wh.etc/passwd", "x")],
    refusal: "below a whiteout",
  },
  WhiteoutDeadSymlinkParent: {
    parts: [...ETC, symlink("passwd", "etc/dead"), file("etc/dead/.wh.passwd", "")],
    tree: ["etc dir", "etc/dead link -> passwd", ETC_TREE[1]],
  },
  WhiteoutRelativePath: {
    parts: [...ETC, file("etc/../../etc/.wh.passwd", "")],
    refusal: "leads out of the layer by '..'",
    tree: ETC_TREE,
  },
  SymlinkOverridePath: {
    parts: [
      ...ETC,
      dir("a"),
      dir("a/b"),
      file("a/b/c", "1"),
      symlink("/etc", "a"),
      file("a/b2", "2"),
    ],
    tree: ["a link -> /etc", "etc dir", 'etc/b2 file "2"', ETC_TREE[1]],
  },
  HardlinkSymlinkBeforeCreateTarget: {
    parts: [
      ...ETC,
      symlink("/etc/passwd", "localpasswd"),
      hardlink("localpasswd", "localpasswd-dup"),
      file("/localpasswd-dup", "replaced"),
    ],
    tree: [
      ...ETC_TREE,
      "localpasswd link -> /etc/passwd",
      'localpasswd-dup file "replaced"',
    ],
  },
  HardlinkSymlinkRelative: {
    parts: [
      ...ETC,
      symlink("../../../../../etc/passwd", "passwdlink"),
      hardlink("/passwdlink", "localpasswd"),
    ],
    same: ["localpasswd", "passwdlink"],
  },
  HardlinkSymlinkAbsolute: {
    parts: [...ETC, symlink("/etc/passwd", "passwdlink"), hardlink("/passwdlink", "localpasswd")],
    same: ["localpasswd", "passwdlink"],
  },
  HardlinkSymlinkChmod: {
    parts: [
      ...ETC,
      symlink("/etc/passwd", "passwdlink"),
      { ...hardlink("/passwdlink", "localpasswd"), mode: 0o7777 },
    ],
    same: ["localpasswd", "passwdlink"],
    tree: [...ETC_TREE, "localpasswd link -> /etc/passwd", "passwdlink link -> /etc/passwd"],
  },

  // moby's archive tests.
  TestUntarInvalidHardlink: {
    parts: [hardlink("../victim", "dir/link"), file("dir/link", "x")],
    refusal: "leads out of the layer by '..'",
  },
  TestUntarInvalidHardlinkThroughSymlink: {
    parts: [symlink("../", "up"), hardlink("up/victim", "dup")],
    refusal: 'nothing (or a directory) in the layer at "up/victim"',
  },
  TestUntarInvalidSymlink: {
    parts: [symlink("../victim", "dirlink"), file("dirlink", "replaced")],
    tree: ['dirlink file "replaced"'],
  },
  TestUntarInvalidFilenames: {
    parts: [file("../victim/dotdot", "x")],
    refusal: "leads out of the layer by '..'",
    tree: [],
  },
  TestApplyLayerInvalidFilenames: {
    parts: [file("/../victim/slash-dotdot", "x")],
    refusal: "leads out of the layer by '..'",
    tree: [],
  },
  TestChrootApplyDotDotFile: {
    parts: [file("..gitme", "x"), file("...", "y"), dir("a..b")],
    tree: ['... file "y"', '..gitme file "x"', "a..b dir"],
  },
  TestUntarParentTraversalContained: {
    parts: [dir("a"), file("a/../b", "x")],
    tree: ["a dir", 'b file "x"'],
  },
  TestUntarSiblingPrefixContained: {
    parts: [file("../layer-sibling", "x")],
    refusal: "leads out of the layer by '..'",
    tree: [],
  },
  TestUntarSymlinkBreakout: {
    parts: [symlink("../etc", "out"), file("out/broken", "x")],
    tree: ["etc dir", 'etc/broken file "x"', "out link -> ../etc"],
  },
  TestUntarThroughAbsoluteSymlink: {
    parts: [symlink("/", "root"), file("root/etc/passwd", "x")],
    tree: ["etc dir", 'etc/passwd file "x"', "root link -> /"],
  },
  TestUnpackRejectsRelativeEscapeBeforeAbsoluteSymlink: {
    parts: [symlink("../../..", "up"), symlink("/etc", "up/abs"), file("up/abs/x", "x")],
    tree: ["abs link -> /etc", "etc dir", 'etc/x file "x"', "up link -> ../../.."],
  },
  TestUntarHardlinkToSymlink: {
    parts: [file("regular", "x"), symlink("regular", "link"), hardlink("link", "dup")],
    same: ["dup", "link"],
  },
  TestUntarAbsoluteHardlink: {
    parts: [dir("d"), file("d/a", "x"), hardlink("/d/a", "b")],
    same: ["b", "d/a"],
  },
  HardlinkMissing: {
    parts: [hardlink("absent", "name")],
    refusal: "there is nothing (or a directory) in the layer",
    tree: [],
  },
  HardlinkToDirectory: {
    parts: [dir("d"), hardlink("d", "name")],
    refusal: "there is nothing (or a directory) in the layer",
    tree: ["d dir"],
  },
  HardlinkToRoot: {
    parts: [hardlink("/", "name")],
    refusal: "its target is the layer's root",
    tree: [],
  },
  HardlinkToItself: {
    parts: [file("a", "x"), hardlink("a", "a"), hardlink("a", "b"), hardlink("a", "b")],
    same: ["a", "b"],
    tree: ['a file "x"', 'b file "x"'],
  },
  SymlinkToProcMagicLink: {
    parts: [symlink("/proc/self/root", "magic"), file("magic/x", "x")],
    tree: [
      "magic link -> /proc/self/root",
      "proc dir",
      "proc/self dir",
      "proc/self/root dir",
      'proc/self/root/x file "x"',
    ],
  },
  SymlinkToItself: {
    parts: [symlink("/proc/self/root", "proc"), file("proc/x", "x")],
    refusal: "",
    tree: ["proc link -> /proc/self/root"],
  },
  SymlinkLoop: {
    parts: [symlink("b", "a"), symlink("a", "b"), file("a/x", "x")],
    refusal: "",
    tree: ["a link -> b", "b link -> a"],
  },
  FileOverRoot: {
    parts: [file("./", "x", { type: "0" })],
    refusal: "it is the layer's root, which is a directory",
    tree: [],
  },
  SymlinkOverRoot: {
    parts: [symlink("/etc", "."), file("x", "x")],
    refusal: "it is the layer's root, which is a directory",
    tree: [],
  },
  FileBelowFile: {
    parts: [file("a", "x"), file("a/b", "x")],
    refusal: '"a" is not a directory',
    tree: ['a file "x"'],
  },
  OpaqueMarkerThroughSymlink: {
    parts: [symlink("../../etc", "out"), file("out/.wh..wh..opq", ""), file("out/x", "x")],
    tree: ["etc dir", 'etc/x file "x"', "out link -> ../../etc"],
    forms: ["none"],
  },
  OpaqueMarkerWithDotDot: {
    parts: [file("../etc/.wh..wh..opq", "")],
    refusal: "leads out of the layer by '..'",
    tree: [],
  },
  WhiteoutThroughSymlinkOut: {
    parts: [symlink("..", "up"), file("up/.wh.victim", ""), file("up/.wh.etc", "")],
    tree: ["up link -> .."],
    forms: ["none"],
  },
  PaxPathOut: {
    parts: [pax({ path: "../../etc/passwd" }), file("harmless", "x")],
    refusal: "leads out of the layer by '..'",
    tree: [],
  },
  PaxLinkPathOut: {
    parts: [pax({ linkpath: "../../etc/passwd" }), hardlink("harmless", "x")],
    refusal: "leads out of the layer by '..'",
    tree: [],
  },
  SparseNameOut: {
    parts: [pax({ "GNU.sparse.name": "../../etc/passwd" }), file("harmless", "x")],
    refusal: "leads out of the layer by '..'",
    tree: [],
  },
  SparseNameWithNulClimbs: {
    parts: [
      pax({ "GNU.sparse.name": "..\x001" }),
      dir("x"),
      pax({ "GNU.sparse.name": "..\x001/victim" }),
      file("x", "owned"),
    ],
    refusal: "holds a NUL byte",
    tree: [],
  },
  SparseNameWithNulReplacesWhatIsAbove: {
    parts: [pax({ "GNU.sparse.name": "..\0x" }), file("x", "owned")],
    refusal: "holds a NUL byte",
    tree: [],
  },
  SparseNameWithNulIsAWhiteoutOfWhatIsAbove: {
    parts: [pax({ "GNU.sparse.name": ".wh...\0x" }), file("x", "")],
    refusal: "holds a NUL byte",
    tree: [],
  },
  HardlinkToWhatIsWhitedOut: {
    parts: [file(".wh.pfile", ""), hardlink("pfile", "v")],
    refusal: 'there is nothing (or a directory) in the layer at "pfile"',
    forms: ["none", "overlay", "aufs"],
  },
  HardlinkToWhiteout: {
    parts: [file(".wh.pfile", ""), hardlink(".wh.pfile", "v")],
    refusal: 'there is nothing (or a directory) in the layer at ".wh.pfile"',
    forms: ["none", "overlay", "aufs"],
  },
  GnuLongNameOut: {
    parts: [
      file("././@LongLink", bytes("../etc/passwd\0"), { type: "L", magic: "gnu" }),
      file("harmless", "x", { magic: "gnu" }),
    ],
    refusal: "leads out of the layer by '..'",
    tree: [],
  },
};

const FORMS: readonly WhiteoutForm[] = ["none", "overlay"];

for (const [name, test] of Object.entries(CASES)) {
  Deno.test(`breakout: ${name}`, () => {
    for (const whiteouts of test.forms ?? FORMS) {
      for (const workers of [0, 1]) {
        using sandbox = new Sandbox();
        const archive = tar(...test.parts);
        let message: string | undefined;
        try {
          if (test.refusal === undefined) sandbox.apply(archive, { whiteouts, workers });
          else if (test.refusal === "") {
            try {
              sandbox.apply(archive, { whiteouts, workers });
            } catch (error) {
              message = (error as Error).message;
            }
          } else message = sandbox.refuse(archive, { whiteouts, workers });
        } finally {
          sandbox.assertContained();
        }
        if (test.refusal) assertStringIncludes(message!, test.refusal);
        if (test.tree) assertEquals(sandbox.tree({ attributes: false }), test.tree);
        if (test.same) {
          const [a, b] = test.same.map((path) => lstat(`${sandbox.root}/${path}`).inode);
          assertEquals(a, b);
        }
      }
    }
  });
}
