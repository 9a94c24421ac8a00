/**
 * Layers of images that Docker, Buildah and umoci build, with removals, renames, hard links,
 * symlinked directories and capabilities: applied here, they are the tree that the builder itself
 * mounts or unpacks, on every driver and file system that this machine has.
 *
 * In a guest, which has devicemapper, it is run by hand.
 */
import { assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path";
import type { GraphDriver } from "../../lib/graph/driver.ts";
import { IDENTITY } from "../../lib/base/id_maps.ts";
import { lacksFileSystem, lacksProgram, must, needs, tempDir } from "../support/cases.ts";
import { openDriver } from "../support/drivers.ts";
import { apply } from "../support/layers.ts";
import { storeDir } from "../support/store_dir.ts";
import { describe, put } from "../support/tree_entries.ts";
import { assertSame } from "../drivers/same_tree/suite.ts";
import { lacking as lackingDevicemapper, openStore } from "../drivers/devicemapper/support.ts";
import { type ImageKind, mountImage } from "../runner/images.ts";
import { BUILDERS } from "./builders.ts";
import { makeSystem } from "./docker.ts";
import { inSeconds, namesIn, withoutHiddenNames } from "./trees.ts";

/** The commands of each image, and what its layers must hold for it to be worth something. */
interface Recipe {
  readonly commands: readonly string[];
  /** Names in the layers, of which builders do not all write the same. */
  readonly holds: RegExp;
  /** A line of the tree. */
  readonly shows: RegExp;
}

const RECIPES: Readonly<Record<string, Recipe>> = {
  removals: {
    commands: [
      "rm /etc/gone; rm -r /opaque; mkdir -m 1777 /opaque; echo new >/opaque/new",
      "rm -r /tree/sub; rm /tree/file; mkdir /tree/file; echo x >/tree/file/in; rm /link; echo l >/link",
      "rm -r /tree/file; echo again >/tree/file; rm -r /opaque; mkdir -p /opaque /etc/gone",
    ],
    holds: /^etc\/\.wh\.gone$/m,
    shows: /^"\/etc\/gone" 40755 /m,
  },
  renames: {
    commands: [
      "mv /tree /moved; mv /etc/issue /etc/renamed; mv /opaque/below /above",
      "ln /etc/renamed /etc/linked; ln /lone /moved/lone; ln -s moved /tree; echo x >/tree/through",
      "echo more >>/lone; mv /moved/sub /etc/sub; ln /etc/sub/deep/leaf /leaf; rm /etc/linked",
    ],
    holds: /^opaque\/\.wh\.below$/m,
    shows: /^"\/moved\/through" 100644 /m,
  },
  links_and_capabilities: {
    commands: [
      "echo n >/lib2/new; mkdir -p /lib2/more/deep; cp -a /bin/cat /usr/lib2/cat",
      "setcap cap_net_raw+ep /bin/cat; setcap cap_net_raw+ep /usr/lib2/cat; chown 12:34 /etc/issue",
      "rm /lib2; mkdir /lib2; echo own >/lib2/own; chmod 2750 /usr/lib2; chmod 4711 /bin/ls; mkfifo /fifo",
    ],
    holds: /^usr\/lib2\/more\/deep$/m,
    shows: /^"\/usr\/lib2\/cat" .* security\.capability=/m,
  },
};

const PROGRAMS = [
  ...["sh", "cat", "ls", "rm", "mv", "mkdir", "ln", "cp", "chmod", "chown", "mkfifo", "setcap"],
];

/** The tar that all images begin with. */
function makeBase(directory: string): string {
  const tree = join(directory, "base"), tar = `${tree}.tar`;
  makeSystem(tree, PROGRAMS);
  for (const path of ["etc", "opaque/below", "tree/sub/deep", "usr/lib2"]) {
    Deno.mkdirSync(join(tree, path), { recursive: true });
  }
  const files = ["etc/issue", "etc/gone", "opaque/below/file", "tree/file", "tree/sub/deep/leaf"];
  for (const path of [...files, "lone", "usr/lib2/old"]) put(join(tree, path), path);
  Deno.linkSync(join(tree, "etc/issue"), join(tree, "tree/issue"));
  Deno.symlinkSync("tree/sub", join(tree, "link"));
  Deno.symlinkSync("usr/lib2", join(tree, "lib2"));
  must("tar", "-C", tree, "--xattrs", "--xattrs-include=*", "-cf", tar, ".");
  return tar;
}

/** Times to the second, as tars have them, and no word of names that a union hides. */
const linesOf = (root: string) => withoutHiddenNames(inSeconds(describe(root)));

/** A driver, and the file system that its store is on. */
interface Place {
  readonly name: string;
  readonly driver: GraphDriver;
}

/** All drivers and file systems that layers are to be the same on. */
function places(directory: string, images: DisposableStack): Place[] {
  const on = (kind: ImageKind, driver: string) => {
    const { mountPoint } = images.use(mountImage(kind, directory, 1 << 30));
    const root = join(mountPoint, "root");
    const warn = (message: string) => {
      throw new Error(`a warning of ${driver}: ${message}`);
    };
    const options = driver === "btrfs" ? ["btrfs.quota=off"] : [];
    const opened = driver === "devicemapper"
      ? openStore(root, { warn })
      : openDriver({ root, driver, options, idMaps: IDENTITY, warn });
    images.defer(() => opened.cleanup());
    return { name: `${driver} on ${kind}`, driver: opened };
  };
  return [
    on("ext4", "overlay2"),
    ...lacksFileSystem("xfs") ?? lacksProgram("mkfs.xfs") ? [] : [on("xfs", "overlay2")],
    ...lacksFileSystem("btrfs") ?? lacksProgram("mkfs.btrfs") ? [] : [on("btrfs", "btrfs")],
    ...lackingDevicemapper === undefined ? [on("ext4+prjquota", "devicemapper")] : [],
  ];
}

function treeOf({ driver }: Place, name: string, layers: readonly string[]): string[] {
  const ids = layers.map((_, i) => `${name}-${i}`);
  for (const [i, id] of ids.entries()) {
    driver.create(id, { parent: ids[i - 1] });
    apply(driver, id, layers[i]);
  }
  const top = ids.at(-1)!;
  try {
    return linesOf(driver.get(top));
  } finally {
    driver.put(top);
  }
}

for (const { name: builder, lacking, open } of BUILDERS) {
  needs(
    lacking ?? lacksFileSystem("overlay") ?? lacksProgram("setcap"),
    `layers that ${builder} builds are on every driver what it shows of them`,
    async () => {
      using dir = storeDir();
      using images = new DisposableStack();
      const all = places(dir.path, images), base = makeBase(dir.path);
      using own = tempDir("b-");
      await using made = open(own.path);
      for (const [name, { commands, holds, shows }] of Object.entries(RECIPES)) {
        const image = made.build(name, base, commands);
        assertEquals(image.layers.length, 1 + commands.length);
        assertMatch(image.layers.flatMap(namesIn).join("\n"), holds);
        const expected = image.shown(linesOf);
        assertMatch(expected.join("\n"), shows);
        for (const place of all) {
          const what = `${name} by ${builder}, ${place.name}`;
          assertSame(treeOf(place, name, image.layers), expected, what);
        }
      }
      const count = Object.keys(RECIPES).length;
      console.log(
        `${count} images by ${builder}, each on ${all.map(({ name }) => name).join(", ")}`,
      );
    },
  );
}
