/**
 * Carries out a call of the graph driver protocol on a store: the part that runs in a lane.
 *
 * @module
 */
import { encode } from "../../../ffi/cstring.ts";
import { codeOf, VeneerError } from "../../base/errors.ts";
import type { Warn } from "../../base/warn.ts";
import type { EngineStore } from "../../graph/engine_store.ts";
import type { ChangeKind } from "../../tree/changes.ts";
import type { Bytes } from "../bytes.ts";
import type { CreateRequest } from "./requests.ts";

/** A layer against a parent, `""` for none. */
interface Comparison {
  readonly id: string;
  readonly parent: string;
}

/** The work of a lane for the service. */
export type DockerCall =
  | { readonly method: "recount" | "status" | "cleanup" }
  | { readonly method: "remove" | "put" | "exists" | "metadata"; readonly id: string }
  | { readonly method: "get"; readonly id: string; readonly label: string | undefined }
  | CreateRequest & { readonly method: "create" | "createReadWrite" }
  | Comparison & { readonly method: "changes" | "diffSize" }
  /** Writes the tar to a descriptor, which stays open. */
  | Comparison & { readonly method: "diff"; readonly output: number }
  /**
   * Applies the tar that a descriptor reads. `isWhole[0]` is 1 once the client has ended it
   * properly.
   */
  | Comparison & {
    readonly method: "applyDiff";
    readonly input: number;
    readonly isWhole: Int32Array;
  };

/** Kinds of changes, by their numbers in the protocol. */
const KIND: Readonly<Record<ChangeKind, number>> = { C: 0, A: 1, D: 2 };

/** About how many characters of changes go into one message. */
const MESSAGE_SIZE = 64 << 10;

/** Gets an answer's JSON, in any number of parts. */
type Emit = (message: Bytes) => void;

/**
 * Makes the function that performs calls.
 *
 * @param holders takes the names of processes that keep mounts, since it was called last
 */
export function performer(holders: () => readonly string[]) {
  return (store: EngineStore, call: DockerCall, emit: Emit): void => {
    holders();
    const answer = (value: unknown) => emit(encode(JSON.stringify(value)));
    switch (call.method) {
      case "recount":
        return store.recount();
      case "status":
        return answer({ Status: store.status() });
      case "cleanup":
        store.cleanup();
        return;
      case "create":
      case "createReadWrite":
        return store[call.method](call.id, call);
      case "remove":
        return remove(store, call.id);
      case "get":
        return answer({ Dir: store.get(call.id, { label: call.label }), Err: "" });
      case "put":
        put(store, call.id);
        return answer({ holders: holders() });
      case "exists":
        return answer({ Exists: store.exists(call.id) });
      case "metadata":
        return answer({ Metadata: Object.fromEntries(store.getMetadata(call.id)), Err: "" });
      case "changes":
        return changes(store, call, emit);
      case "diffSize":
        return answer({ Size: store.diffSize(call.id, call.parent), Err: "" });
      case "diff":
        store.diff(call.id, call.parent, call.output);
        return;
      case "applyDiff":
        return answer({ Size: apply(store, call), Err: "" });
    }
  };
}

/** Removes a layer with all its uses; one that is missing is removed. */
function remove(store: EngineStore, id: string): void {
  try {
    store.remove(id, { endUses: true });
  } catch (error) {
    if (codeOf(error) !== "not found") throw error;
  }
}

/** Counts one use less, if there is one. A mount that processes keep is detached. */
function put(store: EngineStore, id: string): void {
  try {
    store.put(id, { lazy: true });
  } catch (error) {
    if (!["failed precondition", "not found"].includes(codeOf(error))) throw error;
  }
}

function changes(store: EngineStore, { id, parent }: Comparison, emit: Emit): void {
  let part = '{"Changes":[';
  let separator = "";
  using listed = store.changes(id, parent);
  for (const { kind, path } of listed) {
    part += separator + JSON.stringify({ Path: path.toWellFormed(), Kind: KIND[kind] });
    separator = ",";
    if (part.length < MESSAGE_SIZE) continue;
    emit(encode(part));
    part = "";
  }
  emit(encode(`${part}],"Err":""}`));
}

/**
 * A tar that broke off leaves its layer incomplete. What comes then may be the rest of it, and look
 * like a whole one.
 */
function apply(
  store: EngineStore,
  { id, parent, input, isWhole }: DockerCall & { readonly method: "applyDiff" },
): number {
  if (store.layer(id).incomplete) {
    throw new VeneerError(
      "failed precondition",
      `layer ${id} is incomplete: a tar was not applied to its end; remove it`,
    );
  }
  return store.applyDiff(id, parent, input, {
    marksFirst: true,
    provenWhole: () => Atomics.load(isWhole, 0) === 1,
  });
}

/** Collects the names in warnings of detached mounts, on their way, for {@linkcode performer}. */
export function listenForHolders(warn: Warn): { warn: Warn; holders: () => readonly string[] } {
  let heard: string[] = [];
  return {
    warn(message) {
      const [, who] = /; detached: [^(]*\((.+)\)$/.exec(message) ?? [];
      if (who !== undefined) heard.push(who);
      warn(message);
    },
    holders() {
      const all = heard;
      heard = [];
      return all;
    },
  };
}
