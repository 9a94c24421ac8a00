/** `migrate --docker` on stores of Docker's as literal files, from aufs, which no Docker has any more. */
import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { VeneerError } from "../../lib/base/errors.ts";
import { EXIT_STATUS } from "../../lib/cli/exit_status.ts";
import { withText } from "../../lib/migrate/docker_config.ts";
import { lacksFileSystem, needs } from "../support/cases.ts";
import { veneer } from "../support/commands.ts";
import { openDriver } from "../support/drivers.ts";
import { isThere, names, read } from "../support/files.ts";
import { lines } from "../support/trees.ts";
import { storeDir } from "../support/store_dir.ts";
import { BASE, BOX, DIGITS, OWN, writeDockerStore } from "../images/literal_docker_store.ts";

const lacking = lacksFileSystem("overlay");

/** A root with an image and a container on it. */
class Root implements Disposable {
  readonly #dir = storeDir();
  readonly path = join(this.#dir.path, "root");
  readonly config = join(this.path, "containers", BOX, "config.v2.json");

  constructor() {
    writeDockerStore(this.path, "aufs");
  }

  migrate(...more: string[]) {
    return veneer("migrate", "--docker", this.path, "--to", "overlay2", ...more);
  }

  join(...parts: string[]): string {
    return join(this.path, ...parts);
  }

  get records(): string {
    return this.join("image/overlay2");
  }

  [Symbol.dispose](): void {
    this.#dir[Symbol.dispose]();
  }
}

needs(lacking, "migrate --docker: from aufs to overlay2, then --finish", () => {
  using root = new Root();
  const early = root.migrate("--finish");
  assertEquals(early.code, EXIT_STATUS["failed precondition"], early.stderr);
  const old = read(root.config);
  const { code, stdout, stderr } = root.migrate("--verify");
  assertEquals({ code, stderr }, { code: 0, stderr: "" });
  assertStringIncludes(stdout, "3 layers migrated");
  assertStringIncludes(stdout, "3 compared and the same, 1 container taken along");
  assertEquals(read(root.config), old.replace('"Driver":"aufs"', '"Driver":"overlay2"'));
  assertEquals(read(`${root.config}.aufs`), old);
  const kept = names(root.join("image/aufs"));
  assertEquals(names(root.records), [...kept, "veneer-migrated"].sort());
  assertEquals(read(join(root.records, "veneer-migrated")), "aufs");
  {
    using layers = openDriver({ root: root.path, driver: "overlay2" });
    assertEquals(layers.layers().map(({ id, parent }) => [id, parent]), [
      [BASE, ""],
      [OWN, `${OWN}-init`],
      [`${OWN}-init`, BASE],
    ]);
    assertEquals(lines(layers.changes(OWN, undefined)), ["D /gone", "A /new"]);
    assertEquals(read(root.join("overlay2", BASE, "diff/etc/digits")), DIGITS.text);
  }
  // Killed between the records and the containers.
  Deno.writeTextFileSync(root.config, old);
  const refused = root.migrate("--finish");
  assertEquals(refused.code, EXIT_STATUS["failed precondition"], refused.stderr);
  assertStringIncludes(refused.stderr, "1 container is still of aufs");
  const again = root.migrate("--json");
  assertEquals(JSON.parse(again.stdout).containers, [BOX]);
  assertEquals([JSON.parse(again.stdout).migrated, again.code], [[], 0]);
  const finished = root.migrate("--finish");
  assertEquals([finished.code, finished.stderr], [0, ""]);
  assertEquals(names(root.join("image")), ["overlay2"]);
  assertEquals(names(root.records), kept);
  assert(!isThere(root.join("aufs")) && !isThere(`${root.config}.aufs`));
});

needs(lacking, "migrate --docker: nothing is switched if a layer is lost, unless --partial", () => {
  using root = new Root();
  Deno.removeSync(root.join("aufs/diff", `${OWN}-init`), { recursive: true });
  const first = root.migrate();
  assertEquals(first.code, EXIT_STATUS["corrupt store"]);
  assertStringIncludes(
    first.stderr,
    `diff/${OWN}-init is missing: its layer is damaged; 1 above it`,
  );
  assertStringIncludes(first.stdout, "nothing is switched");
  assert(!isThere(root.records));
  const partial = root.migrate("--partial");
  assertEquals(partial.code, EXIT_STATUS["corrupt store"]);
  assertStringIncludes(partial.stdout, "1 there already, 2 left out, 0 containers taken along");
  assertEquals(names(join(root.records, "layerdb/sha256")).length, 1);
  assertEquals(names(join(root.records, "layerdb/mounts")), []);
  assertStringIncludes(read(root.config), '"Driver":"aufs"');
});

needs(lacking, "migrate --docker: records that lead elsewhere are left out, others go on", () => {
  using root = new Root();
  const mounts = root.join("image/aufs/layerdb/mounts"),
    chains = root.join("image/aufs/layerdb/sha256");
  const put = (path: string, text: string) => {
    Deno.mkdirSync(join(path, ".."), { recursive: true });
    Deno.writeTextFileSync(path, text);
  };
  put(join(mounts, "e".repeat(64), "mount-id"), "../../../etc");
  put(join(mounts, "not-a-container", "mount-id"), "x");
  const circle = (id: string, parent: string) => {
    put(join(chains, id.repeat(64), "cache-id"), id.repeat(64));
    put(join(chains, id.repeat(64), "diff"), `sha256:${id.repeat(64)}`);
    put(join(chains, id.repeat(64), "parent"), `sha256:${parent.repeat(64)}`);
  };
  circle("1", "2");
  circle("2", "1");
  Deno.symlinkSync("/etc", join(chains, "3".repeat(64)));
  const { code, stdout, stderr } = root.migrate("--partial");
  assert(code !== 0, stdout);
  assertEquals(stderr.match(/ is left out: /g)?.length, 3, stderr);
  assertStringIncludes(stdout, "3 layers migrated");
  assertStringIncludes(stdout, "2 left out, 1 container taken along");
  assertEquals(names(join(root.records, "layerdb/sha256")).includes("1".repeat(64)), false);
});

needs(lacking, "migrate --docker: images that Docker has with the new driver stay", () => {
  using root = new Root();
  Deno.mkdirSync(join(root.records, "layerdb/sha256"), { recursive: true });
  const { code, stderr } = root.migrate();
  assertEquals(code, EXIT_STATUS["already exists"]);
  assertStringIncludes(stderr, "Docker has records of images of overlay2: move image/overlay2");
  for (const more of [["id"], ["--dry-run"], ["--to-root", "/x"], ["--plugin", "x"]]) {
    assertEquals(root.migrate(...more).code, EXIT_STATUS["usage"], more.join(" "));
  }
});

Deno.test("migrate --docker: one text of a config is replaced, and no byte beside it", () => {
  const config = '{"A":{"Driver":"x"},"B":["Driver",{"Driver":1}],"S":"\\"Driver\\":\\"{[\\\\",\n' +
    ' "Big":12345678901234567890, "Driver" : "aufs","Z":"Driver"}';
  assertEquals(
    withText(config, "Driver", "overlay2", "it"),
    config.replace('"aufs"', '"overlay2"'),
  );
  assertEquals(withText('{"Dr\\u0069ver":"a"}', "Driver", "b", "it"), '{"Dr\\u0069ver":"b"}');
  for (const bad of ["{}", '{"Driver":1}', '{"Driver":"a","Driver":"b"}', "", '["Driver","a"]']) {
    assertThrows(() => withText(bad, "Driver", "b", "it"), VeneerError, "it has no text");
  }
});
