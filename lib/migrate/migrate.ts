/**
 * Migration: making the layers or snapshots of one store again in another one, of any driver.
 *
 * Both stores are open in lanes, of which the target's may be on this thread. A member's changes go
 * through a pipe from the source's lane, which writes them as a tar, to the target's, which applies
 * it: one pass, and both work at once. Parents come first. A member that cannot be migrated is left
 * out with those above it, and the others go on; if the target has no room, all end there. Another
 * migration goes on after the last member that is done.
 *
 * @module
 */
import { close, LARGEST_PIPE, pipe, trySetPipeSize } from "../../ffi/files.ts";
import { codeOf, type ErrorCode, messageOf, VeneerError } from "../base/errors.ts";
import type { Warn } from "../base/warn.ts";
import { DIFF_ID, OFFERED } from "../images/records.ts";
import type { Lane } from "../services/lanes/thread.ts";
import { ask, type Call, type Made, type MovedImage } from "./calls.ts";
import { compareTars } from "./compare_tars.ts";
import { hasContent, type Member, type Plan } from "./member.ts";

/** An end of a migration. */
export type EndLane = Lane<Call>;

/** A member that was not migrated. */
export interface Failure {
  readonly id: string;
  readonly code: ErrorCode;
  readonly reason: string;
  /** The members above it, which were left out for it. */
  readonly skipped: readonly string[];
}

/** The outcome of a migration. */
export interface Outcome {
  readonly migrated: readonly string[];
  /** Those that an earlier migration did. */
  readonly kept: readonly string[];
  readonly failed: readonly Failure[];
  /** The ids of the members whose trees were compared and are the same. */
  readonly verified: readonly string[];
  readonly images: readonly string[];
}

/** The settings of a migration. */
export interface MigrationContext {
  readonly source: EndLane;
  readonly target: EndLane;
  readonly plan: Plan;
  /** Of a store of snapshots. */
  readonly images: readonly MovedImage[];
  /** Whether each member's tree is compared with its source's. */
  readonly verify: boolean;
  readonly warn: Warn;
  /** Gets the bytes of tar that were migrated so far, of all members. */
  readonly onProgress?: (bytes: number) => void;
}

/** Migrates what a plan names. @throws {VeneerError} if the target cannot be used at all */
export async function migrate(context: MigrationContext): Promise<Outcome> {
  return await new Migration(context).run();
}

/** The target is full. */
class OutOfRoom extends Error {}

class Migration {
  readonly #context: MigrationContext;
  readonly #migrated: string[] = [];
  readonly #kept: string[] = [];
  readonly #verified: string[] = [];
  readonly #failed = new Map<string, { code: ErrorCode; reason: string; skipped: string[] }>();
  /** The member for which one is left out, itself if it failed. */
  readonly #blame = new Map<string, string>();
  #bytes = 0;

  constructor(context: MigrationContext) {
    this.#context = context;
  }

  async run(): Promise<Outcome> {
    const { source, target, plan, warn } = this.#context;
    const done = new Set(await ask<string[]>(target, { kind: "begin", from: source.home }));
    for (const { id, reason } of plan.leftOut) this.#fail(id, "corrupt store", reason);
    const images = this.#images();
    const ofImages = this.#layersOf(images);
    for (const [i, planned] of plan.members.entries()) {
      const { id, parent } = planned;
      const culprit = this.#blame.get(parent);
      if (culprit !== undefined) {
        this.#failed.get(culprit)!.skipped.push(id);
        this.#blame.set(id, culprit);
        continue;
      }
      try {
        if (done.has(id)) this.#kept.push(id);
        else await this.#migrate(withoutDiffId(planned, ofImages));
        if (this.#context.verify && hasContent(planned)) await this.#verify(id);
      } catch (error) {
        if (error instanceof OutOfRoom) throw this.#outOfRoom(error, i);
        this.#fail(id, codeOf(error), messageOf(error));
      }
    }
    const moved = await this.#moveImages(images);
    await ask(target, { kind: "sync" });
    const failed = [...this.#failed].map(([id, failure]) => ({ id, ...failure }));
    for (const { id, reason, skipped } of failed) {
      const above = skipped.length === 0 ? "" : `; ${skipped.length} above it left out`;
      warn(`${id} was not migrated: ${reason}${above}`);
    }
    const migrated = this.#migrated, kept = this.#kept, verified = this.#verified;
    return { migrated, kept, failed, verified, images: moved };
  }

  #fail(id: string, code: ErrorCode, reason: string): void {
    this.#failed.set(id, { code, reason, skipped: [] });
    this.#blame.set(id, id);
  }

  #outOfRoom(error: OutOfRoom, index: number): VeneerError {
    const { plan, target } = this.#context;
    const { id } = plan.members[index];
    return new VeneerError(
      "limit exceeded",
      `${target.home} has no room for ${id}: ${error.message}; ${index} of ${plan.members.length} ` +
        "are done: make room and run the same command again, which goes on from there",
    );
  }

  /** Makes a member in the target. */
  async #migrate(member: Member): Promise<void> {
    const { source, target, warn, onProgress = () => {} } = this.#context;
    const { id, obstacle, loss } = member;
    if (obstacle !== undefined) throw new VeneerError("in use", obstacle);
    if (loss !== undefined) warn(`${id}: ${loss}`);
    if (!hasContent(member)) {
      await ask(target, { kind: "make", member, input: undefined });
    } else {
      const before = this.#bytes;
      const made = await throughPipe(
        (output) => ask(source, { kind: "diff", id, isWhole: false, output }),
        (input) =>
          ask<Made>(target, { kind: "make", member, input }, (bytes) => {
            this.#bytes = before + bytes;
            onProgress(this.#bytes);
          }),
      );
      if (made?.outOfRoom !== undefined) throw new OutOfRoom(made.outOfRoom);
    }
    this.#migrated.push(id);
  }

  /** @throws {VeneerError} `failed` if the trees differ */
  async #verify(id: string): Promise<void> {
    const { source, target } = this.#context;
    using scope = new DisposableStack();
    const read = (lane: EndLane) => {
      const { readable, writable } = pipe();
      trySetPipeSize(readable, LARGEST_PIPE);
      const ended = ask(lane, { kind: "diff", id, isWhole: true, output: writable })
        .catch((error: unknown) => error);
      return { ended, fd: scope.adopt(readable, close) };
    };
    const mine = read(source), others = read(target);
    // This thread waits in system calls from here on: the calls must be on their way by then.
    await new Promise((resolve) => setTimeout(resolve));
    let difference: string | undefined, failure: unknown;
    try {
      difference = compareTars(mine.fd, others.fd);
    } catch (error) {
      failure = error;
    }
    scope.dispose();
    const [one, other] = await Promise.all([mine.ended, others.ended]);
    for (const error of [one, other, failure]) if (error instanceof Error) throw error;
    if (difference !== undefined) {
      throw new VeneerError("failed", `its tree differs from the source's: ${difference}`);
    }
    this.#verified.push(id);
  }

  /** The images whose uppermost layers are to be migrated. */
  #images(): MovedImage[] {
    const { images, plan } = this.#context;
    const planned = new Set(plan.members.map(({ id }) => id));
    return images.filter(({ snapshot }) => snapshot === null || planned.has(snapshot));
  }

  /** The layers of images. */
  #layersOf(images: readonly MovedImage[]): Set<string> {
    const parents = new Map(this.#context.plan.members.map(({ id, parent }) => [id, parent]));
    const found = new Set<string>();
    for (const { snapshot } of images) {
      for (let at = snapshot ?? ""; at !== "" && !found.has(at); at = parents.get(at) ?? "") {
        found.add(at);
      }
    }
    return found;
  }

  /** Records the images whose layers are in the target now. */
  async #moveImages(images: readonly MovedImage[]): Promise<string[]> {
    const { source, target, plan, warn } = this.#context;
    const there = new Set([...this.#migrated, ...this.#kept]);
    const whole = images.filter(({ snapshot }) => snapshot === null || there.has(snapshot));
    if (whole.length === 0) return [];
    const layers = this.#layersOf(whole);
    const diffIds = plan.members.filter(({ id }) => layers.has(id))
      .map(({ labels }) => labels?.[DIFF_ID]).filter((diffId) => diffId !== undefined);
    for (const diffId of new Set(diffIds)) {
      try {
        await throughPipe(
          (output) => ask(source, { kind: "tar record", diffId, output }),
          (input) => ask(target, { kind: "keep tar record", diffId, input }),
        );
      } catch (error) {
        warn(`the record of the tar of layer ${diffId} was not migrated: ${messageOf(error)}`);
      }
    }
    const taken = await ask<string[]>(target, { kind: "add images", images: whole });
    for (const name of taken) warn(`image name ${name} stays that of another image of the target`);
    return whole.map(({ id }) => id);
  }
}

/** Runs two calls with a pipe between them; returns the reader's result, or throws the failure that caused the other. */
export async function throughPipe<T>(
  write: (output: number) => Promise<unknown>,
  read: (input: number) => Promise<T>,
): Promise<T> {
  const { readable, writable } = pipe();
  trySetPipeSize(readable, LARGEST_PIPE);
  const [written, taken] = await Promise.allSettled([write(writable), read(readable)]);
  // A writer whose reader has gone does not fail.
  if (written.status === "rejected") throw written.reason;
  if (taken.status === "rejected") throw taken.reason;
  return taken.value;
}

/**
 * A layer that no image of the target stands on is an image's no more: the next command on images
 * would remove it.
 */
function withoutDiffId(member: Member, ofImages: ReadonlySet<string>): Member {
  if (member.labels?.[DIFF_ID] === undefined || ofImages.has(member.id)) return member;
  const { [DIFF_ID]: _diffId, [OFFERED]: _offered, ...labels } = member.labels;
  return { ...member, labels };
}
