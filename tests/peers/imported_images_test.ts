/**
 * Whole images that Docker, Buildah and umoci build and write: imported here, they are the tree that
 * the builder itself mounts or unpacks; exported, the builder reads it as the same image.
 */
import { assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path";
import { lacksFileSystem, must, needs, tempDir } from "../support/cases.ts";
import { describe, put } from "../support/tree_entries.ts";
import { assertSame } from "../drivers/same_tree/suite.ts";
import { imageStore, withTree } from "../images/support.ts";
import { BUILDERS } from "./builders.ts";
import { makeSystem } from "./docker.ts";
import { inSeconds, withoutHiddenNames } from "./trees.ts";

const COMMANDS = [
  "rm /etc/gone; rm -r /opaque; mkdir -m 1777 /opaque; echo new >/opaque/new",
  "mv /tree /moved; ln /etc/issue /etc/linked; ln -s moved /tree",
];

/** The tar that the images begin with. */
function makeBase(directory: string): string {
  const tree = join(directory, "base"), tar = `${tree}.tar`;
  makeSystem(tree, ["sh", "rm", "mv", "mkdir", "ln"]);
  for (const path of ["etc", "opaque/below", "tree"]) {
    Deno.mkdirSync(join(tree, path), { recursive: true });
  }
  for (const path of ["etc/issue", "etc/gone", "opaque/below/file", "tree/file"]) {
    put(join(tree, path), path);
  }
  must("tar", "-C", tree, "-cf", tar, ".");
  return tar;
}

const linesOf = (root: string) => withoutHiddenNames(inSeconds(describe(root)));

for (const { name: builder, lacking, open } of BUILDERS) {
  needs(
    lacking ?? lacksFileSystem("overlay"),
    `an image that ${builder} writes is imported as the tree that it shows`,
    async () => {
      using store = await imageStore();
      using own = tempDir("b-");
      const base = makeBase(own.path);
      await using made = open(own.path);
      const built = made.build("app", base, COMMANDS);
      const [{ id, names, layers }] = store.images.import(built.source);
      assertEquals(layers, 1 + COMMANDS.length);
      assertMatch(names.join(), /\bapp\b/);
      const expected = built.shown(linesOf);
      assertMatch(expected.join("\n"), /^"\/moved\/file" 100644 /m);
      const top = store.images.find(id).snapshot!;
      assertSame(withTree(store, top, linesOf), expected, builder);

      // The builder's own layers, byte for byte, so that its reader finds the same image.
      const written = store.path("written"), tar = `${written}.tar`;
      const options = { packing: "gzip", time: 0 } as const;
      await store.images.export(id, { ...options, format: "oci-dir", output: written });
      await store.images.export(id, { ...options, format: "hybrid", output: tar });
      assertSame(made.reread(written, tar, names[0], id, linesOf), expected, `${builder} again`);
    },
  );
}
