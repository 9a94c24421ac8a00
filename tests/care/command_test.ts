/** `check` as a user runs it. */
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { DAMAGE_FOUND } from "../../lib/cli/exit_status.ts";
import { lacksFileSystem, must, needs } from "../support/cases.ts";
import { refusal, TestStore } from "../support/commands.ts";

needs(lacksFileSystem("overlay"), "cli: check tells damage, what it breaks and a remedy", () => {
  using store = new TestStore("--driver", "overlay2");
  assertMatch(refusal("not found", store.run("check")), /^there is no store of layers /);
  store.must("create", "base");
  store.must("create", "app", "--parent", "base");
  store.must("create", "top", "--parent", "app");
  store.must("snapshot", "prepare", "work");
  assertEquals(
    store.must("check"),
    "3 layers of overlay2, 1 snapshot of overlay2: no damage\n",
  );
  const link = join(store.root, "overlay2/app/link");
  const name = Deno.readTextFileSync(link);
  Deno.writeTextFileSync(link, "");
  const { code, stdout, stderr } = store.run("check", "top");
  assertEquals([code, stderr], [DAMAGE_FOUND, ""]);
  assertEquals(stdout.split("\n"), [
    `link-empty: ${link} is empty; breaks layers app, top; make it a file of root's that holds ${name}`,
    "3 layers of overlay2, 1 snapshot of overlay2: 1 finding",
    stdout.split("\n").at(-2)!,
    "",
  ]);
  assertMatch(stdout, /^`veneer --root .* repair` mends 1$/m);
  assertEquals(store.run("check", "base").code, 0, "base stands on nothing that is damaged");
  const { findings, stores } = JSON.parse(store.run("check", "--json").stdout);
  assertEquals(stores.map(({ of, count }: { of: string; count: number }) => [of, count]), [
    ["layers", 3],
    ["snapshots", 1],
  ]);
  assertEquals(findings, [{
    kind: "link-empty",
    what: "is empty",
    file: link,
    remedy: `make it a file of root's that holds ${name}`,
    driver: "overlay2",
    of: "layers",
    layer: "app",
    breaks: { layers: ["app", "top"], containers: [], images: [] },
    isNote: false,
    repair: "mend",
  }]);
  assertMatch(refusal("not found", store.run("check", "gone")), /^layer gone does not exist/);
  Deno.writeTextFileSync(link, name);
  assertEquals(store.run("check", "ba").code, 0);
});

needs(
  lacksFileSystem("overlay"),
  "cli: check notes what cleanup deletes, which is no damage",
  () => {
    using store = new TestStore("--driver", "overlay2");
    store.must("snapshot", "prepare", "work");
    const lost = join(store.root, "snapshots/overlay2/snapshots/lost");
    Deno.mkdirSync(join(lost, "fs"), { recursive: true });
    assertEquals(store.must("check").split("\n"), [
      `note: snapshot-layer-unknown: ${lost} is the layer of no snapshot; breaks nothing; ` +
      "a cleanup of the snapshots deletes it; if the database is an older copy, bring back the newer",
      "1 snapshot of overlay2: no damage, 1 note",
      "",
    ]);
    store.must("snapshot", "cleanup");
    assertEquals(store.must("check"), "1 snapshot of overlay2: no damage\n");
  },
);

needs(lacksFileSystem("overlay"), "cli: check names Docker's containers and images", () => {
  using store = new TestStore("--driver", "overlay2");
  const id = "a".repeat(64), top = "b".repeat(64), chain = "c".repeat(64);
  store.must("create", id);
  store.must("create", top, "--parent", id);
  const image = join(store.root, "image/overlay2");
  const record = (path: string, text: string) => {
    must("mkdir", "-p", join(image, path, ".."));
    Deno.writeTextFileSync(join(image, path), text);
  };
  record(`layerdb/sha256/${chain}/cache-id`, id);
  record("layerdb/mounts/box/mount-id", top);
  record("layerdb/mounts/box/init-id", id);
  record(
    "imagedb/content/sha256/deadbeef",
    JSON.stringify({ rootfs: { diff_ids: [`sha256:${chain}`] } }),
  );
  assertEquals(store.run("check").code, 0);
  Deno.removeSync(join(store.root, "overlay2", id, "diff"), { recursive: true });
  const found = store.run("check");
  assertEquals(found.code, DAMAGE_FOUND);
  assertStringIncludes(found.stdout, `breaks layers ${id}, ${top}, container box, image deadbeef;`);
  record("layerdb/mounts/lost/mount-id", "d".repeat(64));
  assertMatch(store.run("check").stdout, /^container-layer-missing: .*\/lost\/mount-id names /m);
  record("layerdb/mounts/lost/mount-id", "");
  assertMatch(store.run("check").stdout, /^docker-mount-id-empty: /m);
});
