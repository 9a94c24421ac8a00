/**
 * The calls on the two ends of a migration, each of which is a store opened in a lane.
 *
 * An answer is any number of messages, which are JSON: how far a call is, and at last its result.
 *
 * @module
 */
import { decode, encode } from "../../ffi/cstring.ts";
import type { Bytes } from "../services/bytes.ts";
import type { LaneStore } from "../services/lanes/protocol.ts";
import type { Lane } from "../services/lanes/thread.ts";
import type { Member } from "./member.ts";

/** The kinds of stores. */
export type StoreKind = "layers" | "snapshots";

/** An end: which store it is, and what is done with it. */
export interface EndStore extends LaneStore {
  readonly of: StoreKind;
  readonly role: "source" | "target";
  /** The Docker root that it is of, if it is, and its name for Docker. */
  readonly docker?: { readonly root: string; readonly driver: string };
}

/** An image, its config and manifest in base64. */
export interface MovedImage {
  readonly id: string;
  readonly config: string;
  readonly manifest: string | null;
  readonly snapshot: string | null;
  readonly imported: number;
  readonly names: readonly string[];
}

/** A call. Descriptors are the call's, which closes them. */
export type Call =
  /** Of a source: its members, as {@linkcode Member}s; with the bytes of each if `isMeasured`. */
  | { readonly kind: "list"; readonly isMeasured: boolean }
  /** Of both: writes the changes of a member, or all that it shows if `isWhole`, as a tar. */
  | {
    readonly kind: "diff";
    readonly id: string;
    readonly isWhole: boolean;
    readonly output: number;
  }
  /** Of a target: the ids that are done, of a migration from this home. */
  | { readonly kind: "begin"; readonly from: string }
  /** Of a target: makes a member and fills it from a tar, if it has one. Its result is {@linkcode Made}. */
  | { readonly kind: "make"; readonly member: Member; readonly input: number | undefined }
  /** Of a target: returns when all that is done is on disk. */
  | { readonly kind: "sync" }
  /** Of a source of snapshots: its images, as {@linkcode MovedImage}s. */
  | { readonly kind: "images" }
  /** Of a source of snapshots: writes the record of a layer's tar; nothing if there is none. */
  | { readonly kind: "tar record"; readonly diffId: string; readonly output: number }
  /** Of a target of snapshots: keeps that record; an empty one is dropped. */
  | { readonly kind: "keep tar record"; readonly diffId: string; readonly input: number }
  /** Of a target of snapshots: records images whose layers are there. */
  | { readonly kind: "add images"; readonly images: readonly MovedImage[] }
  /** Of a target in a Docker root: a {@linkcode DockerState}. */
  | { readonly kind: "docker state" }
  /** Of a Docker root: writes its driver's records of images as a tar. */
  | { readonly kind: "read records"; readonly output: number }
  /** Of a target in one: makes records of them, without those of layers that are left out. */
  | {
    readonly kind: "keep records";
    readonly input: number;
    readonly from: string;
    readonly leftOut: readonly string[];
  }
  /** Of a target in one: makes containers of a driver its own; returns their ids. */
  | { readonly kind: "take containers"; readonly from: string };

/** What a Docker root has of the driver that it is migrated to. */
export type DockerState =
  | { readonly records: "none" }
  /** Of images that Docker had with it. */
  | { readonly records: "another's" }
  | { readonly records: "migrated"; readonly from: string };

/** The result of making a member, if no error says that it was not. */
export interface Made {
  /** Why there is no room for it: then the target as a whole is full. */
  readonly outOfRoom?: string;
}

/** A message of an answer. */
type Message = { readonly progress: number } | { readonly result: unknown };

/** Sends how far a call is. */
export const sendProgress = (emit: (bytes: Bytes) => void, progress: number) =>
  emit(encode(JSON.stringify({ progress })));

/** Sends a call's result. */
export const sendResult = (emit: (bytes: Bytes) => void, result: unknown) =>
  emit(encode(JSON.stringify({ result })));

/**
 * Does a call in a lane; returns its result.
 *
 * @param onProgress gets the bytes so far
 * @throws {VeneerError} as the call does
 */
export async function ask<T>(
  lane: Lane<Call>,
  call: Call,
  onProgress: (bytes: number) => void = () => {},
): Promise<T> {
  let result: unknown;
  await lane.run(call, (bytes) => {
    const message: Message = JSON.parse(decode(bytes));
    if ("progress" in message) onProgress(message.progress);
    else result = message.result;
  });
  return result as T;
}
