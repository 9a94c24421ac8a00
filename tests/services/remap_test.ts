/**
 * Snapshots for containers in user namespaces: mounts whose ids containerd 2 maps when it makes
 * them.
 */
import { assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path";
import { lacksFileSystem, needs } from "../support/cases.ts";
import { commit, make, ofKey, readMounts, update } from "./snapshots_client.ts";
import { TestService } from "./service_support.ts";

const UIDS = "containerd.io/snapshot/uidmapping", GIDS = "containerd.io/snapshot/gidmapping";
const MAPS = { [UIDS]: "0:100000:5,5:200000:65536", [GIDS]: "0:300000:65536" };
const lacking = lacksFileSystem("overlay");

/** A service with an image of two layers, and a function that calls it. */
async function serving(scope: AsyncDisposableStack, ...options: string[]) {
  const service = scope.use(await TestService.start(...options));
  const client = scope.use(await service.connect());
  const call = async (method: string, request: number[]) => {
    const { status, message, messages } = await client.call(method, request);
    return { status, message, mounts: status === 0 ? readMounts(messages[0]) : [] };
  };
  await call("Prepare", make("default/1/extract-1", "", { "containerd.io/snapshot.ref": "one" }));
  await call("Commit", commit("one", "default/1/extract-1"));
  await call("Prepare", make("default/2/extract-2", "one"));
  await call("Commit", commit("two", "default/2/extract-2"));
  return { service, call };
}

/** An option's value among those of a mount. */
const valueOf = (options: readonly string[], name: string) =>
  options.find((option) => option.startsWith(`${name}=`))?.slice(name.length + 1);

const ownerOf = (path: string) => {
  const { uid, gid } = Deno.lstatSync(path);
  return `${uid}:${gid}`;
};

needs(lacking, "remap: labels become options, and the mapped root owns the upper", async () => {
  await using scope = new AsyncDisposableStack();
  const { service, call } = await serving(scope, "-o", "snapshot.remap=true");

  const { mounts: [{ type, options }] } = await call("Prepare", make("default/3/c", "two", MAPS));
  assertEquals(type, "overlay");
  assertEquals(valueOf(options, "uidmap"), MAPS[UIDS]);
  assertEquals(valueOf(options, "gidmap"), MAPS[GIDS]);
  assertEquals(ownerOf(valueOf(options, "upperdir")!), "100000:300000");
  for (const lower of valueOf(options, "lowerdir")!.split(":")) {
    assertEquals(ownerOf(lower), "0:0", "the image's layers are left alone");
  }
  const asked = await call("Mounts", ofKey("default/3/c"));
  assertEquals(asked.mounts[0].options, options, "again");

  // A view is an overlay even on one layer, because containerd does not map a read-only bind mount.
  for (const [parent, lowers] of [["one", 2], ["two", 2]] as const) {
    const { mounts: [view] } = await call("View", make(`default/4/${parent}`, parent, MAPS));
    assertEquals(view.type, "overlay");
    assertEquals(valueOf(view.options, "uidmap"), MAPS[UIDS]);
    assertEquals(valueOf(view.options, "upperdir"), undefined);
    assertEquals(valueOf(view.options, "lowerdir")!.split(":").length, lowers);
  }

  // It has no lower layers to map.
  const { mounts: [bare] } = await call("Prepare", make("default/5/bare", "", MAPS));
  assertEquals([bare.type, bare.options], ["bind", ["rw", "rbind"]]);
  assertEquals(ownerOf(bare.source), "100000:300000");

  // Without labels nothing is mapped. After a new label, answers contain the maps.
  const { mounts: [plain] } = await call("Prepare", make("default/6/plain", "two"));
  assertEquals(valueOf(plain.options, "uidmap"), undefined);
  await call("Update", update("default/6/plain", MAPS));
  const { mounts: [mapped] } = await call("Mounts", ofKey("default/6/plain"));
  assertEquals(valueOf(mapped.options, "gidmap"), MAPS[GIDS]);
  assertEquals(/status=(INTERNAL|UNKNOWN)/.test(service.process.log), false, service.process.log);
});

needs(lacking, "remap: an invalid label is refused, and leaves nothing", async () => {
  await using scope = new AsyncDisposableStack();
  const { service, call } = await serving(scope, "-o", "snapshot.remap=true");
  const layers = () => Array.from(Deno.readDirSync(join(service.home, "snapshots"))).length;
  const before = layers();
  for (const text of ["0:0:1,0:5:1", "0:1:4294967295", "garbage", "0:0:1,".repeat(600)]) {
    const labels = { ...MAPS, [UIDS]: text };
    for (const method of ["Prepare", "View"]) {
      const { status, message } = await call(method, make("default/3/c", "two", labels));
      assertEquals(status, 3, `${method} ${text}`);
      assertMatch(message, /^label "containerd.io\/snapshot\/uidmapping": [^\n]{1,250}$/);
    }
    assertEquals((await call("Update", update("two", labels))).status, 3);
  }
  assertEquals(layers(), before);
  assertEquals((await call("Mounts", ofKey("default/3/c"))).status, 5, "it was not made");
});

needs(lacking, "remap: without the option, labels change nothing", async () => {
  await using scope = new AsyncDisposableStack();
  const { call } = await serving(scope);
  const { mounts: [mount] } = await call("Prepare", make("default/3/c", "two", MAPS));
  assertEquals(valueOf(mount.options, "uidmap"), undefined);
  assertEquals(ownerOf(valueOf(mount.options, "upperdir")!), "0:0");
  assertEquals((await call("Prepare", make("default/4/d", "two", { [UIDS]: "x" }))).status, 0);
});
