/** overlay2 on a kernel whose overlay takes no `lowerdir+`, and with the module's defaults changed. */
// @runs on guest ext4
// @runs long on guest xfs
import { assert, assertEquals } from "@std/assert";
import { openDriver } from "../../support/drivers.ts";
import { takesLowersOneByOne } from "../../../drivers/overlay2/kernel.ts";
import type { GraphDriver } from "../../../lib/graph/driver.ts";
import { IDENTITY } from "../../../lib/base/id_maps.ts";
import { readMountInfo } from "../../../lib/mount/mountinfo.ts";
import { apply, diff, fill, treeOf } from "../../support/layers.ts";
import { describeTree, lines, modelChanges } from "../../support/trees.ts";
import { storeDir } from "../../support/store_dir.ts";
import { lacksFileSystem, needs } from "../../support/cases.ts";
import { assertFails } from "../../support/errors.ts";

const PARAMETERS = "/sys/module/overlay/parameters";
const lackingOverlay = lacksFileSystem("overlay");
const lacking = lackingOverlay ??
  (takesLowersOneByOne(Deno.env.get("VENEER_TEST_DIR") ?? "/tmp")
    ? "overlay of this kernel takes lowerdir+"
    : undefined);

function store(root: string): GraphDriver {
  return openDriver({ root, driver: "overlay2", options: [], idMaps: IDENTITY, warn: () => {} });
}

function test(name: string, body: (dir: string) => void, lacks = lacking): void {
  needs(lacks, `overlay2 on an older kernel: ${name}`, () => {
    using dir = storeDir();
    body(dir.path);
  });
}

function deep(driver: GraphDriver, count: number): string {
  for (let i = 1; i <= count; i++) {
    driver.create(`${i}`, { parent: i === 1 ? undefined : `${i - 1}` });
    Deno.writeTextFileSync(`${driver.home}/${i}/diff/file-${i}`, "");
  }
  return `${count}`;
}

test("mount(2) is chosen, and 128 layers below fit it", (dir) => {
  const driver = store(dir);
  assertEquals(new Map(driver.status()).get("Mount API"), "old (mount)");
  const top = deep(driver, 129);
  assertEquals(describeTree(driver.get(top)).size, 129);
  driver.put(top);
  assertFails("limit exceeded", () => driver.create("more", { parent: top }));
});

test("a home with a long name is mounted from inside", (dir) => {
  const driver = store(`${dir}/${"long name/".repeat(60)}`);
  const top = deep(driver, 60);
  const before = Deno.cwd();
  const root = driver.get(top);
  assertEquals(Deno.cwd(), before);
  const mount = readMountInfo().find(({ mountPoint }) => mountPoint === root);
  assert(mount?.superOptions.includes("upperdir=60/diff"), mount?.superOptions);
  assertEquals(describeTree(root).size, 60);
  Deno.writeTextFileSync(`${root}/new`, "");
  driver.put(top);
  assertEquals(lines(driver.changes(top, undefined)), ["A /file-60", "A /new"]);
});

test("a label that is too long is said", (dir) => {
  const driver = store(dir);
  const top = deep(driver, 129);
  const error = assertFails("invalid argument", () => driver.get(top, { label: "x".repeat(400) }));
  assert(error.message.includes("mount's label has 400 bytes"), error.message);
  assertEquals(driver.layer(top).references, 0);
});

for (const parameter of ["redirect_dir", "metacopy"]) {
  const file = `${PARAMETERS}/${parameter}`;
  // It is the whole machine's, so only a guest changes it.
  const lacks = lacking ?? (parameter === "metacopy" ? onlyWith(file) : undefined);
  test(`with ${parameter} on, trees are compared`, (dir) => {
    const before = Deno.readTextFileSync(file).trim();
    const redirect = Deno.readTextFileSync(`${PARAMETERS}/redirect_dir`).trim();
    try {
      Deno.writeTextFileSync(`${PARAMETERS}/redirect_dir`, "Y");
      Deno.writeTextFileSync(file, "Y");
      const driver = store(dir);
      const status = new Map(driver.status());
      assertEquals(status.get("Native Overlay Diff"), "false");
      assertEquals(status.get("Using metacopy"), String(parameter === "metacopy"));
      fill(driver, "base", (root) => {
        Deno.mkdirSync(`${root}/directory/below`, { recursive: true });
        Deno.writeTextFileSync(`${root}/directory/file`, "content");
        Deno.writeTextFileSync(`${root}/file`, "content of the base");
      });
      const base = treeOf(driver, "base");
      fill(driver, "child", (root) => {
        Deno.renameSync(`${root}/directory`, `${root}/renamed`);
        Deno.chmodSync(`${root}/file`, 0o600);
      }, "base");
      const child = treeOf(driver, "child");
      assertEquals(lines(driver.changes("child", undefined)), modelChanges(base, child));
      driver.create("copy", { parent: "base" });
      apply(driver, "copy", diff(driver, "child", undefined, dir));
      assertEquals(treeOf(driver, "copy"), child);
    } finally {
      Deno.writeTextFileSync(file, before);
      Deno.writeTextFileSync(`${PARAMETERS}/redirect_dir`, redirect);
    }
  }, lacks);
}

function onlyWith(file: string): string | undefined {
  try {
    Deno.statSync(file);
    return undefined;
  } catch {
    return `${file} does not exist`;
  }
}
