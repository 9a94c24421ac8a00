/**
 * Performs a call of the graph driver protocol on a store. This part runs in a lane.
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

/** A layer and the parent to compare it with; `""` for none. */
interface Comparison {
  readonly id: string;
  readonly parent: string;
}

/** The calls that a lane performs. */
export type DockerCall =
  | { readonly method: "recount" | "status" | "cleanup" }
  | { readonly method: "remove" | "put" | "exists" | "metadata"; readonly id: string }
  | { readonly method: "get"; readonly id: string; readonly label: string | undefined }
  | CreateRequest & { readonly method: "create" | "createReadWrite" }
  | Comparison & { readonly method: "changes" | "diffSize" }
  /** Writes the tar to a descriptor, which stays open. */
  | Comparison & { readonly method: "diff"; readonly output: number }
  /**
   * Applies the tar from a descriptor. `isWhole[0]` becomes 1 when the client has sent the whole
   * tar.
   */
  | Comparison & {
    readonly method: "applyDiff";
    readonly input: number;
    readonly isWhole: Int32Array;
  };

/** The protocol's numbers of the kinds of changes. */
const KIND: Readonly<Record<ChangeKind, number>> = { C: 0, A: 1, D: 2 };

/** The approximate number of characters of changes in one message. */
const MESSAGE_SIZE = 64 << 10;

/** Gets an answer's JSON in any number of parts. */
type Emit = (message: Bytes) => void;

/**
 * Makes the function that performs calls.
 *
 * @param holders returns the processes that have kept mounts since its last call
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

/** Removes a layer with all its uses. It is no error if the layer does not exist. */
function remove(store: EngineStore, id: string): void {
  try {
    store.remove(id, { endUses: true });
  } catch (error) {
    if (codeOf(error) !== "not found") throw error;
  }
}

/** Counts one use less, if there is one. A mount that processes still use is detached. */
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
 * Applies a tar, but not to an incomplete layer. Such a layer's tar was interrupted: the next one
 * may be only the rest of it, and yet be a valid tar.
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

/**
 * Passes warnings on, and collects the processes named in those about detached mounts, for
 * {@linkcode performer}.
 */
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
