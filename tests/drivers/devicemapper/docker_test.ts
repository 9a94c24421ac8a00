/** One store used by Docker's own devicemapper driver and by this one, in turns. */
// @runs on guest ext4
import { assert, assertEquals } from "@std/assert";
import { fill, treeOf } from "../../support/layers.ts";
import type { StatusLine } from "../../../lib/base/status.ts";
import { storeDir } from "../../support/store_dir.ts";
import { mountControlGroups } from "../../peers/docker.ts";
import { lacksProgram, must, needs, run } from "../../support/cases.ts";
import { assertNoDevices, FILE_SYSTEM, lacking, openStore } from "./support.ts";

const lacks = lacking ?? lacksProgram("dockerd") ?? lacksProgram("docker") ??
  lacksProgram("containerd") ?? (FILE_SYSTEM === "xfs" ? "it ran on ext4" : undefined);

/** The same for both programs. */
const OPTIONS = ["dm.basesize=96M", "dm.fs=ext4", "dm.loopdatasize=1G", "dm.loopmetadatasize=8M"];

/** A daemon on a data root, until it is stopped. */
async function docker(root: string, directory: string) {
  const socket = `unix://${directory}/docker.sock`;
  const log = `${directory}/docker.log`;
  const options = [...OPTIONS, "dm.override_udev_sync_check=true"];
  const args = [
    ...["--storage-driver", "devicemapper", "--data-root", root, "--host", socket],
    ...["--exec-root", `${directory}/exec`, "--pidfile", `${directory}/docker.pid`],
    ...["--bridge", "none", "--iptables=false", "--ip-forward=false"],
    ...options.flatMap((option) => ["--storage-opt", option]),
  ];
  const daemon = new Deno.Command("bash", {
    args: ["-c", 'exec dockerd "$@" >"$0" 2>&1', log, ...args],
    stdin: "null",
  }).spawn();
  const client = (...words: string[]) => must("docker", "--host", socket, ...words).trim();
  for (let attempt = 0; !run("docker", "--host", socket, "version").success; attempt++) {
    if (attempt === 600) throw new Error(`dockerd: ${Deno.readTextFileSync(log)}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  return {
    client,
    async stop() {
      daemon.kill("SIGTERM");
      await daemon.status;
    },
  };
}

needs(lacks, "devicemapper: Docker and Veneer use one store in turns", async () => {
  using dir = storeDir();
  const root = `${dir.path}/root`;
  mountControlGroups();
  Deno.mkdirSync(`${dir.path}/tree/directory`, { recursive: true });
  Deno.writeTextFileSync(`${dir.path}/tree/file`, "from docker");
  Deno.writeTextFileSync(`${dir.path}/tree/directory/inside`, "below");
  const tar = `${dir.path}/image.tar`;
  must("tar", "-C", `${dir.path}/tree`, "-cf", tar, ".");

  const first = await docker(root, dir.path);
  first.client("import", tar, "image");
  first.client("create", "--name", "container", "image", "/bin/true");
  const lines: StatusLine[] = JSON.parse(
    first.client("info", "--format", "{{json .DriverStatus}}"),
  );
  await first.stop();
  assertNoDevices();

  const veneer = openStore(root, { options: OPTIONS });
  const own = veneer.status().slice(0, lines.length);
  assertEquals(own.map(([name]) => name), lines.map(([name]) => name));
  // Sizes have other units, and loop devices other numbers.
  const isSame = ([name]: StatusLine) =>
    !/^(Data|Metadata) file$|size$| Size$| Space | Minimum /.test(name);
  assertEquals(own.filter(isSame), lines.filter(isSame));
  const ids = veneer.layers().map(({ id }) => id);
  assertEquals(ids.length, 3, ids.join());
  const init = ids.find((id) => id.endsWith("-init"))!;
  const container = init.replace(/-init$/, "");
  const image = ids.find((id) => id !== init && id !== container)!;
  // Docker's own records tell the parents.
  const parents = Object.fromEntries(veneer.layers().map(({ id, parent }) => [id, parent]));
  assertEquals(parents, { [image]: "", [init]: image, [container]: init });
  assertEquals([...veneer.changes(container, undefined)], []);
  assertEquals([...treeOf(veneer, image).keys()], ["/directory", "/directory/inside", "/file"]);
  assert(
    [...veneer.changes(init, undefined)].some(({ kind, path }) => kind === "A" && path === "/dev"),
  );
  fill(veneer, "from-veneer", (path) => Deno.writeTextFileSync(`${path}/own`, "x"), image);
  veneer.create("removed", { parent: image });
  veneer.remove("removed");
  const tree = treeOf(veneer, "from-veneer");
  veneer.cleanup();
  assertNoDevices(root);

  const second = await docker(root, dir.path);
  assertEquals(second.client("images", "--quiet").split("\n").length, 1);
  must(
    "sh",
    "-c",
    `docker --host unix://${dir.path}/docker.sock export container >${dir.path}/c.tar`,
  );
  const names = must("tar", "-tf", `${dir.path}/c.tar`).split("\n");
  for (const name of ["file", "directory/inside"]) assert(names.includes(name), name);
  // After what Veneer did, Docker makes layers in the same pool.
  Deno.writeTextFileSync(`${dir.path}/tree/more`, "of another layer");
  must("tar", "-C", `${dir.path}/tree`, "-cf", tar, ".");
  second.client("import", tar, "another");
  await second.stop();

  const again = openStore(root, { options: OPTIONS });
  assertEquals(again.layers().length, 5);
  assertEquals(treeOf(again, "from-veneer"), tree);
  again.remove("from-veneer");
  again.cleanup();
});
