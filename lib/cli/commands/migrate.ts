/**
 * `veneer migrate`: makes the layers and snapshots of one driver's stores again with another one.
 *
 * @module
 */
import { join } from "@std/path";
import { AUTO } from "../../../drivers/names.ts";
import { resolveId } from "../../base/ids.ts";
import { VeneerError } from "../../base/errors.ts";
import { escapePath } from "../../base/printable.ts";
import { formatSize } from "../../base/sizes.ts";
import { ask, type EndStore, type MovedImage, type StoreKind } from "../../migrate/calls.ts";
import { type Member, planOf } from "../../migrate/member.ts";
import { type EndLane, migrate, type Outcome } from "../../migrate/migrate.ts";
import { MigrationEnds } from "../migration_ends.ts";
import { counted, optionsFor } from "../migrate_words.ts";
import { PLUGIN } from "../migrate_table.ts";
import { requireStore } from "../existing_store.ts";
import { EXIT_STATUS } from "../exit_status.ts";
import { openProgress } from "../progress.ts";
import { serviceName, SERVICES } from "../service_name.ts";
import { hasControlSequences } from "../style.ts";
import { checkRoot } from "../surroundings.ts";
import { type CommandContext, requireRoot, type Run } from "./context.ts";

/** The source and the target of one store. */
interface Move {
  readonly of: StoreKind;
  readonly source: EndStore;
  readonly target: EndStore;
}

/** A move whose source is open, and the members of the source. */
interface Listed extends Move {
  readonly lane: EndLane;
  readonly members: readonly Member[];
}

export const run: Run = async (context) => {
  requireRoot();
  const { options } = context;
  if (options.value("docker") !== undefined) {
    return await (await import("./migrate_docker.ts")).run(context);
  }
  for (const name of ["partial", "finish", "plugin"]) {
    if (options.flag(name) || options.value(name) !== undefined) {
      throw new VeneerError("usage", `--${name} is for --docker`);
    }
  }
  const isDry = options.flag("dry-run");
  if (isDry && options.flag("verify")) {
    throw new VeneerError(
      "usage",
      "give --dry-run or --verify: nothing is migrated to be compared",
    );
  }
  await using ends = await MigrationEnds.start(context);
  const moves = await movesOf(context);
  const isMeasured = isDry || hasControlSequences(Deno.stderr);
  const listed: Listed[] = [];
  for (const move of moves) {
    const lane = await ends.open(move.source);
    listed.push({ ...move, lane, members: await ask(lane, { kind: "list", isMeasured }) });
  }
  const wanted = wantedOf(context, listed.flatMap(({ members }) => members));
  if (isDry) return await showPlans(context, listed, wanted);
  const done: Done[] = [];
  for (const move of listed) done.push(await take(context, move, wanted, ends));
  return show(context, done);
};

/** The stores to migrate, and their targets. @throws {VeneerError} if there are none */
async function movesOf(context: CommandContext): Promise<Move[]> {
  const { options, drivers } = context, to = options.value("to");
  if (to === undefined) throw new VeneerError("usage", "name the new driver: --to DRIVER");
  if (to === PLUGIN) {
    throw new VeneerError("usage", `--to ${PLUGIN} is for --docker: name a driver of Veneer's`);
  }
  const service = options.value("service");
  const root = service === undefined ? context.root : context.rootOfSnapshots;
  const newRoot = newRootOf(context, service);
  const stores: Record<StoreKind, string[]> = {
    layers: service === undefined ? await drivers.layersAt(root) : [],
    snapshots: await drivers.snapshotsAt(root),
  };
  const wanted = options.value("driver") ?? AUTO;
  const moves: Move[] = [];
  for (const  of of["layers", "snapshots"] as const) {
    const found = stores[of].filter((driver) => driver !== to || root !== newRoot)
      .filter((driver) => wanted === AUTO || driver === wanted);
    if (found.length > 1) {
      throw new VeneerError("incompatible", `${root} has ${of} of ${found.join(" and ")}`, {
        remedy: { kind: "driver", among: found },
      });
    }
    for (const driver of found) {
      const end = (role: EndStore["role"], root: string, driver: string): EndStore => ({
        of,
        role,
        root,
        driver,
        options: optionsFor(driver, options.values("option")),
        uidmap: options.values("uidmap"),
        gidmap: options.values("gidmap"),
      });
      moves.push({ of, source: end("source", root, driver), target: end("target", newRoot, to) });
    }
  }
  if (moves.length > 0) return moves;
  requireStore(
    root,
    service === undefined && stores.snapshots.length === 0 ? "layers" : "snapshots",
  );
  throw new VeneerError(
    "not found",
    `there is nothing at ${root} to migrate to ${to}${wanted === AUTO ? "" : ` from ${wanted}`}`,
    { remedy: { kind: "other root" } },
  );
}

function newRootOf(context: CommandContext, service: string | undefined): string {
  const root = context.options.value("to-root");
  if (root === undefined) return service === undefined ? context.root : context.rootOfSnapshots;
  if (root === "") throw new VeneerError("usage", 'option --to-root "": name a directory');
  checkRoot(root);
  return service === undefined ? root : join(root, SERVICES, serviceName(service, "service"));
}

/** The ids that the operands name; `undefined` for all. @throws {VeneerError} `not found` */
function wantedOf(
  { operands, output }: CommandContext,
  members: readonly Member[],
): ReadonlySet<string> | undefined {
  if (operands.length === 0) return undefined;
  const all = new Set(members.map(({ id }) => id));
  return new Set(operands.map((word) => {
    if (all.has(word)) return word;
    if (!output.json) return resolveId(word, [...all]);
    throw new VeneerError("not found", `layer ${word} does not exist`, {
      remedy: { kind: "list", of: "layers" },
    });
  }));
}

async function showPlans(
  { output }: CommandContext,
  listed: readonly Listed[],
  wanted: ReadonlySet<string> | undefined,
): Promise<void> {
  const all = listed.flatMap(({ of, members }) =>
    planOf(members, wanted).members.map((member) => ({ of, ...member }))
  );
  await output.resultTable(
    {
      members: all.map(({ of, id, parent, kind, bytes = null, obstacle = null }) => ({
        of,
        id,
        parent,
        kind,
        bytes,
        obstacle,
      })),
    },
    () => [
      ["ID", "KIND", "PARENT", "SIZE", ""],
      ...all.map(({ id, kind, parent, bytes, obstacle = "" }) => [
        escapePath(id),
        kind,
        escapePath(parent),
        bytes === undefined ? "?" : formatSize(bytes),
        escapePath(obstacle),
      ]),
      ["", "", "", formatSize(all.reduce((sum, { bytes = 0 }) => sum + bytes, 0)), "in all"],
    ],
  );
}

interface Done extends Outcome {
  readonly of: StoreKind;
  readonly from: string;
  readonly to: string;
}

async function take(
  { output, options }: CommandContext,
  { of, members, lane, target }: Listed,
  wanted: ReadonlySet<string> | undefined,
  ends: MigrationEnds,
): Promise<Done> {
  const plan = planOf(members, wanted);
  const images = of === "snapshots" ? await ask<MovedImage[]>(lane, { kind: "images" }) : [];
  const targetLane = await ends.open(target);
  const total = plan.members.reduce((sum, { bytes = 0 }) => sum + bytes, 0);
  using progress = openProgress(`${plan.members.length} ${of}`, total);
  const outcome = await migrate({
    source: lane,
    target: targetLane,
    plan,
    images,
    verify: options.flag("verify"),
    warn: (message) => output.warn(escapePath(message)),
    onProgress: (bytes) => progress?.update(bytes),
  });
  return { ...outcome, of, from: lane.home, to: targetLane.home };
}

function show({ output, options }: CommandContext, done: readonly Done[]): number {
  output.result(
    { stores: done.map(({ failed, ...rest }) => ({ ...rest, failed })) },
    () => done.map((outcome) => summary(outcome, options.flag("verify"))),
  );
  const [first] = done.flatMap(({ failed }) => failed);
  return first === undefined ? 0 : EXIT_STATUS[first.code];
}

function summary(
  { of, from, to, migrated, kept, failed, verified, images }: Done,
  isVerified: boolean,
): string {
  const left = failed.reduce((sum, { skipped }) => sum + 1 + skipped.length, 0);
  return [
    `${counted(migrated.length, of)} migrated from ${from} to ${to}`,
    ...(kept.length > 0 ? [`${kept.length} there already`] : []),
    ...(images.length > 0 ? [counted(images.length, "images")] : []),
    ...(left > 0 ? [`${left} left out`] : []),
    ...(isVerified ? [`${verified.length} compared and the same`] : []),
  ].join(", ");
}
