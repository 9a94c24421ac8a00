/**
 * The migration of a Docker root from one storage driver to another: its layers, then the records
 * of its images, then its containers.
 *
 * @module
 */
import { VeneerError } from "../base/errors.ts";
import { ask, type DockerState } from "./calls.ts";
import type { Member } from "./member.ts";
import { migrate, type MigrationContext, type Outcome, throughPipe } from "./migrate.ts";

/** The settings of the migration of a Docker root. */
export interface DockerContext extends Omit<MigrationContext, "images"> {
  /** All that the source listed. */
  readonly members: readonly Member[];
  /** The old driver. */
  readonly from: string;
  /** The new one's name for Docker. */
  readonly to: string;
  /** Whether to go on without the images and containers whose layers cannot be migrated. */
  readonly isPartial: boolean;
}

/** The outcome. */
export interface DockerOutcome extends Outcome {
  /** Whether Docker finds its images and containers with the new driver. */
  readonly isSwitched: boolean;
  /** The ids of the containers that are the new driver's now. */
  readonly containers: readonly string[];
}

const NOTHING: Outcome = { migrated: [], kept: [], failed: [], verified: [], images: [] };

/**
 * Migrates a Docker root, or what an interrupted migration left.
 *
 * @throws {VeneerError} `in use` beside a daemon, `already exists` if Docker had images with the new
 * driver, `limit exceeded` without room
 */
export async function migrateDocker(context: DockerContext): Promise<DockerOutcome> {
  const { source, target, from, to, isPartial } = context;
  const state = await ask<DockerState>(target, { kind: "docker state" });
  if (state.records === "another's" || state.records === "migrated" && state.from !== from) {
    throw new VeneerError(
      "already exists",
      `Docker has records of images of ${to}${
        state.records === "migrated" ? `, migrated from ${state.from}` : ""
      }: move image/${to} elsewhere, or migrate to another driver`,
    );
  }
  let outcome = NOTHING;
  if (state.records === "none") {
    outcome = await migrate({ ...context, images: [] });
    if (outcome.failed.length > 0 && !isPartial) {
      return { ...outcome, isSwitched: false, containers: [] };
    }
    const leftOut = recordsOf(outcome, context.members);
    await throughPipe(
      (output) => ask(source, { kind: "read records", output }),
      (input) => ask(target, { kind: "keep records", input, from, leftOut }),
    );
  }
  const containers = await ask<string[]>(target, { kind: "take containers", from });
  return { ...outcome, isSwitched: true, containers };
}

/** Docker's records of the members that were not migrated. */
function recordsOf({ failed }: Outcome, members: readonly Member[]): string[] {
  const left = new Set(failed.flatMap(({ id, skipped }) => [id, ...skipped]));
  const records = members.filter(({ id }) => left.has(id)).map(({ record }) => record);
  return [...new Set(records.filter((record) => record !== undefined))];
}
