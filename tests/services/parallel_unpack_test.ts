/**
 * Layers of an image that are unpacked at the same time, each without a parent, and get their
 * parents at their commits. containerd 2.2 and later do that for snapshotters that rebase.
 */
import { assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path";
import { lacksFileSystem, must, needs } from "../support/cases.ts";
import { commit, fieldsOf, make, ofKey } from "./snapshots_client.ts";
import { TestService } from "./service_support.ts";

const REFERENCE = "containerd.io/snapshot.ref";

/** The mount of an answer, as an applier reads it. */
function mountOf(message: Uint8Array<ArrayBuffer>) {
  const text = (value: unknown) => new TextDecoder().decode(value as Uint8Array<ArrayBuffer>);
  const [answer] = fieldsOf(message).get(1)!;
  const fields = fieldsOf(answer as Uint8Array<ArrayBuffer>);
  const options = (fields.get(4) ?? []).map(text);
  const option = (name: string) =>
    options.find((option) => option.startsWith(`${name}=`))?.slice(name.length + 1);
  return { type: text(fields.get(1)![0]), options, option };
}

needs(
  lacksFileSystem("overlay"),
  "parallel unpack: layers get their parents at the commit",
  async () => {
    await using service = await TestService.start("--driver", "overlay2");
    using client = await service.connect();
    const call = async (method: string, request: number[]) => {
      const { status, messages } = await client.call(method, request);
      assertEquals(status, 0, method);
      return messages[0];
    };
    /**
     * The content of each layer, written into the upper directory like containerd's applier does.
     */
    const layers: ((upper: string) => void)[] = [
      (upper) => {
        must("mkdir", join(upper, "etc"), join(upper, "old"));
        Deno.writeTextFileSync(join(upper, "etc/motd"), "hello\n");
        Deno.writeTextFileSync(join(upper, "old/file"), "");
      },
      (upper) => {
        must("mkdir", join(upper, "etc"));
        must("mknod", join(upper, "etc/motd"), "c", "0", "0");
        must("mkdir", join(upper, "old"));
        must("setfattr", "-n", "trusted.overlay.opaque", "-v", "y", join(upper, "old"));
      },
      (upper) => Deno.writeTextFileSync(join(upper, "top"), "top\n"),
    ];
    await Promise.all(layers.map(async (fill, i) => {
      const labels = { [REFERENCE]: `sha256:${i}` };
      const mount = mountOf(await call("Prepare", make(`default/${i}/extract-${i}`, "", labels)));
      assertEquals(mount.type, "overlay");
      const upper = mount.option("upperdir")!;
      // Any program can mount it.
      const at = join(service.directory.path, `mount-${i}`);
      Deno.mkdirSync(at);
      must("mount", "-t", "overlay", "overlay", "-o", mount.options.join(","), at);
      assertEquals([...Deno.readDirSync(at)], []);
      must("umount", at);
      fill(upper);
      const again = mountOf(await call("Mounts", ofKey(`default/${i}/extract-${i}`)));
      assertEquals(again.options, mount.options);
    }));
    for (const i of layers.keys()) {
      const parent = i === 0 ? "" : `sha256:${i - 1}`;
      await call("Commit", commit(`sha256:${i}`, `default/${i}/extract-${i}`, {}, parent));
    }
    const root = join(service.directory.path, "seen");
    Deno.mkdirSync(root);
    const view = mountOf(await call("View", make("default/9/view", "sha256:2")));
    must("mount", "-t", view.type, "overlay", "-o", view.options.join(","), root);
    try {
      assertEquals(must("find", root, "-mindepth", "1", "-printf", "%P\n").split("\n").sort(), [
        "",
        "etc",
        "old",
        "top",
      ]);
    } finally {
      must("umount", root);
    }
  },
);

needs(
  lacksFileSystem("overlay"),
  "parallel unpack: other snapshots without a parent stay binds",
  async () => {
    await using service = await TestService.start("--driver", "overlay2");
    using client = await service.connect();
    const { messages: [bare] } = await client.call("Prepare", make("default/1/bare"));
    assertEquals(mountOf(bare).type, "bind");
    const labels = { [REFERENCE]: "sha256:0" };
    await client.call("Prepare", make("default/2/extract-1", "", labels));
    await client.call("Commit", commit("sha256:0", "default/2/extract-1"));
    const { messages: [view] } = await client.call("View", make("default/3/view", "sha256:0"));
    assertEquals(mountOf(view).type, "bind");
    const { messages: [child] } = await client.call("Prepare", make("default/4/child", "sha256:0"));
    assertMatch(mountOf(child).option("lowerdir")!, /\/fs$/);
  },
);
