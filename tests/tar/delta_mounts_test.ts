/**
 * Layers in which something is mounted while they are read: a running container's volumes are no part of its
 * layer, and what they hide is.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { lseek, memfd, readToEnd, SEEK_SET, withFd } from "../../ffi/files.ts";
import { mount, MS_BIND, umount } from "../../ffi/mount.ts";
import { IDENTITY } from "../../lib/base/id_maps.ts";
import { sizeOf, treeDelta } from "../../lib/tar/export/delta.ts";
import { TarReader } from "../../lib/tar/read/reader.ts";
import { DescriptorWindow } from "../../lib/tar/read/descriptor_window.ts";
import { tempDir } from "../support/cases.ts";

Deno.test("what is mounted below a layer is in no diff, no changes and no size, and what it hides is", () => {
  using dir = tempDir();
  const layer = `${dir.path}/layer`, parent = `${dir.path}/parent`, outside = `${dir.path}/outside`;
  for (const path of [`${layer}/volume`, parent, outside]) {
    Deno.mkdirSync(path, { recursive: true });
  }
  Deno.writeTextFileSync(`${layer}/volume/hidden`, "own");
  Deno.writeTextFileSync(`${layer}/file`, "own");
  Deno.writeTextFileSync(`${outside}/secret`, "the host's");
  Deno.writeTextFileSync(`${dir.path}/secret`, "the host's file");
  mount({ source: outside, target: `${layer}/volume`, flags: MS_BIND });
  mount({ source: `${dir.path}/secret`, target: `${layer}/file`, flags: MS_BIND });
  try {
    for (const delta of [treeDelta(layer, undefined), treeDelta(layer, parent)]) {
      assertEquals([...delta.changes()].map(({ kind, path }) => `${kind} ${path}`), [
        "A /file",
        "A /volume",
        "A /volume/hidden",
      ]);
      assertEquals(sizeOf(delta), 6);
      withFd(memfd("diff"), (output) => {
        delta.export(output, { idMaps: IDENTITY, warn: () => {} });
        const names: string[] = [];
        const reader = new TarReader(new DescriptorWindow(output, 0));
        while (reader.next()) names.push(`${reader.entry.text} ${reader.entry.size}`);
        assertEquals(names, ["file 3", "volume 0", "volume/hidden 3"]);
        lseek(output, 0n, SEEK_SET);
        assertEquals(new TextDecoder().decode(readToEnd(output)).includes("host's"), false);
      });
    }
  } finally {
    umount(`${layer}/file`);
    umount(`${layer}/volume`);
  }
});
