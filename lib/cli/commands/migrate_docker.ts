/**
 * `veneer migrate --docker`: moves a Docker root from one storage driver to another.
 *
 * @module
 */
import { basename, join } from "@std/path";
import { AUTO } from "../../../drivers/names.ts";
import { tryLstat } from "../../../ffi/stat.ts";
import { codeOf, VeneerError } from "../../base/errors.ts";
import { isId } from "../../base/ids.ts";
import { escapePath } from "../../base/printable.ts";
import type { GraphDriver } from "../../graph/driver.ts";
import { ask, type EndStore } from "../../migrate/calls.ts";
import { type DockerOutcome, migrateDocker } from "../../migrate/docker.ts";
import { DockerRoot } from "../../migrate/docker_target.ts";
import { type Member, planOf } from "../../migrate/member.ts";
import type { EndLane } from "../../migrate/migrate.ts";
import { EXIT_STATUS } from "../exit_status.ts";
import { MigrationEnds } from "../migration_ends.ts";
import { counted, optionsFor } from "../migrate_words.ts";
import { PLUGIN } from "../migrate_table.ts";
import { openProgress } from "../progress.ts";
import { type CommandContext, requireRoot, type Run } from "./context.ts";

/** Drivers whose layers consist of more than directories. */
const WITH_MORE_THAN_DIRECTORIES = ["btrfs", "devicemapper"];

export const run: Run = async (context) => {
  requireRoot();
  const { options, operands } = context, to = newDriver(context);
  for (const name of ["to-root", "service"]) {
    if (options.value(name) !== undefined) {
      throw new VeneerError("usage", `--${name} is not for --docker, which stays where it is`);
    }
  }
  if (operands.length > 0 || options.flag("dry-run")) {
    throw new VeneerError("usage", "--docker migrates all: leave out ids and --dry-run");
  }
  const directory = options.value("docker")!;
  if (directory === "" || tryLstat(`${directory}/image`)?.isDirectory !== true) {
    throw new VeneerError("not found", `there is no store of Docker's at ${directory || '""'}`);
  }
  const root = Deno.realPathSync(directory), records = new DockerRoot(root, to);
  // This is dockerd's name for the directory of a user to which it maps root.
  const mapped = /^(\d+)\.(\d+)$/.exec(basename(root));
  if (mapped !== null && options.values("uidmap").length === 0) {
    const [, uid, gid] = mapped;
    throw new VeneerError(
      "usage",
      `${root} is of a Docker that maps root to ${uid}: name its maps, such as ` +
        `--uidmap 0:${uid}:65536 --gidmap 0:${gid}:65536`,
    );
  }
  return options.flag("finish")
    ? await finish(context, records)
    : await migrateRoot(context, records, to);
};

/** The new driver's name for Docker. A plugin has the name of its socket. */
function newDriver({ options }: CommandContext): string {
  const to = options.value("to"), plugin = options.value("plugin");
  if (to === undefined) throw new VeneerError("usage", "name the new driver: --to DRIVER");
  if (plugin === undefined) return to;
  if (to === PLUGIN && isId(plugin)) return plugin;
  throw new VeneerError("usage", `--plugin names the socket of --to ${PLUGIN}`);
}

async function migrateRoot(
  context: CommandContext,
  records: DockerRoot,
  to: string,
): Promise<number> {
  const { options } = context, root = records.path;
  const state = records.state();
  const named = options.value("driver") ?? AUTO;
  const old = named !== AUTO ? named : state.records === "migrated" ? state.from : undefined;
  const from = old ?? await onlyDriver(context, root, to);
  if (from === to) throw new VeneerError("usage", `${root} is of ${to} already`);
  records.requireIdle(from);
  await using ends = await MigrationEnds.start(context);
  const openLane = (role: EndStore["role"], place: string, driver: string) =>
    ends.open({
      of: "layers",
      role,
      root: place,
      driver,
      options: optionsFor(driver, options.values("option")),
      uidmap: options.values("uidmap"),
      gidmap: options.values("gidmap"),
      docker: { root, driver: to },
    });
  const source = await openLane("source", root, from);
  const members = await ask<Member[]>(source, { kind: "list", isMeasured: true });
  // A plugin's layers are in the directory that Docker names after it.
  const target = options.value("to") === PLUGIN
    ? await openLane("target", join(root, to), AUTO)
    : await openLane("target", root, to);
  const outcome = await takeAll(context, { source, target, members, from, to });
  return show(context, { root, from, to, home: target.home }, outcome);
}

async function takeAll(
  { options, output }: CommandContext,
  { source, target, members, from, to }: {
    readonly source: EndLane;
    readonly target: EndLane;
    readonly members: readonly Member[];
    readonly from: string;
    readonly to: string;
  },
): Promise<DockerOutcome> {
  const plan = planOf(members);
  const total = plan.members.reduce((sum, { bytes = 0 }) => sum + bytes, 0);
  using progress = openProgress(`${plan.members.length} layers`, total);
  return await migrateDocker({
    source,
    target,
    plan,
    members,
    from,
    to,
    isPartial: options.flag("partial"),
    verify: options.flag("verify"),
    warn: (message) => output.warn(escapePath(message)),
    onProgress: (bytes) => progress?.update(bytes),
  });
}

/** The only driver with images in the Docker root, apart from the target. */
async function onlyDriver(
  { drivers }: CommandContext,
  root: string,
  to: string,
): Promise<string> {
  const found = [...Deno.readDirSync(join(root, "image"))].map(({ name }) => name)
    .filter((name) => name !== to && !name.startsWith("."));
  if (found.length === 1) return found[0];
  if (found.length > 1) {
    throw new VeneerError("invalid argument", `${root} has images of ${found.join(" and ")}`, {
      remedy: { kind: "driver", among: found },
    });
  }
  // Throws an error with the reason.
  (await drivers.openDocker({ root, driver: undefined }))[Symbol.dispose]();
  throw new VeneerError("usage", `${root} is of ${to} already`);
}

interface Way {
  readonly root: string;
  readonly from: string;
  readonly to: string;
  readonly home: string;
}

function show(
  { output, options }: CommandContext,
  { root, from, to, home }: Way,
  outcome: DockerOutcome,
): number {
  const { migrated, kept, failed, verified, containers, isSwitched } = outcome;
  const left = failed.reduce((sum, { skipped }) => sum + 1 + skipped.length, 0);
  output.result(
    { root, from, to, home, migrated, kept, failed, verified, containers, isSwitched },
    () => {
      const parts = [
        `${counted(migrated.length, "layers")} migrated from ${root}/${from} to ${home}`,
        ...(kept.length > 0 ? [`${kept.length} there already`] : []),
        ...(left > 0 ? [`${left} left out`] : []),
        ...(options.flag("verify") ? [`${verified.length} compared and the same`] : []),
      ];
      if (!isSwitched) {
        return [
          parts.join(", "),
          `nothing is switched: Docker stays with ${from}, unless --partial leaves out what is damaged`,
        ];
      }
      return [
        [...parts, `${counted(containers.length, "containers")} taken along`].join(", "),
        `start Docker with "storage-driver": ${JSON.stringify(to)} in daemon.json; once it has ` +
        "proved itself, --finish removes what was of the old driver",
      ];
    },
  );
  const [first] = failed;
  return first === undefined ? 0 : EXIT_STATUS[first.code];
}

/** Removes the layers and records of the old driver. */
async function finish(context: CommandContext, records: DockerRoot): Promise<number> {
  const { output, options } = context, state = records.state();
  if (state.records !== "migrated") {
    throw new VeneerError(
      "failed precondition",
      `${records.path} was not migrated to ${records.driver}`,
    );
  }
  const { from } = state;
  records.requireIdle(from);
  const left = records.containersOf(from, (message) => output.warn(message));
  if (left.length > 0) {
    throw new VeneerError(
      "failed precondition",
      `${counted(left.length, "containers")} ${
        left.length === 1 ? "is" : "are"
      } still of ${from}, such as ${left[0].slice(0, 12)}: ` +
        "migrate them, or remove them with Docker on that driver",
    );
  }
  if (WITH_MORE_THAN_DIRECTORIES.includes(from)) {
    using layers = await context.drivers.open({
      root: records.path,
      driver: from,
      options: optionsFor(from, options.values("option")),
      idMaps: context.idMaps,
      warn: (message, remedy) => output.warn(message, remedy),
    });
    removeAll(layers);
    layers.cleanup();
  }
  records.removeHome(from);
  records.finish(from);
  output.result({ removed: from }, () => [`what ${records.path} had of ${from} is removed`]);
  return 0;
}

/**
 * Removes all layers of a store, those without children first. Their parents need not be recorded.
 */
function removeAll(layers: GraphDriver): void {
  let left = layers.layers().map(({ id }) => id);
  while (left.length > 0) {
    let failure: unknown;
    const stuck = left.filter((id) => {
      try {
        layers.remove(id);
        return false;
      } catch (error) {
        if (codeOf(error) !== "in use") throw error;
        failure = error;
        return true;
      }
    });
    if (stuck.length === left.length) throw failure;
    left = stuck;
  }
}
