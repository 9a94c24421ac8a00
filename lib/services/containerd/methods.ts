/**
 * The methods of containerd's snapshots service.
 *
 * @module
 */
import type { Bytes } from "../bytes.ts";
import type { Method, Running, Services } from "../grpc/call.ts";
import type { Lanes } from "../lanes/lanes.ts";
import {
  type Read,
  readCleanup,
  readCommit,
  readKey,
  readList,
  readMake,
  readUpdate,
  type SnapshotCall,
} from "./messages.ts";
import type { LogSyncer } from "./log_syncer.ts";
import { type Asked, keysOfUsage, KnownAnswers, type Question } from "./known_answers.ts";
import { type LaneCall, readAged } from "./perform.ts";

const REQUESTS: Readonly<Record<string, Read>> = {
  Prepare: readMake("prepare"),
  View: readMake("view"),
  Mounts: readKey("mounts"),
  Commit: readCommit,
  Remove: readKey("remove"),
  Stat: readKey("stat"),
  Update: readUpdate,
  List: readList,
  Usage: readKey("usage"),
  Cleanup: readCleanup,
};

/**
 * The service. Its calls are done by lanes.
 *
 * @param name the name that requests must contain
 * @param syncer has the changes of calls written to disk
 */
export function snapshotsService(
  lanes: Lanes<LaneCall>,
  name: string,
  syncer: LogSyncer,
): Services {
  const known = new KnownAnswers(), knownUsages = new KnownAnswers(keysOfUsage);
  let commits = 0;
  const changing = (call: SnapshotCall, asked?: Asked): Question => {
    const { keep, ended } = known.changing(call, asked);
    const usages = knownUsages.changing(call);
    return {
      keep,
      ended: () => {
        ended();
        usages.ended();
        syncer.changed();
      },
    };
  };
  const mountsAre = () => lanes.mountsStay ? "mounts" : undefined;
  const methods = Object.entries(REQUESTS).map(([method, read]): [string, Method] => [
    method,
    (message, emit, client) => {
      const call = read(message, name);
      const run = (question?: Question, sent = call, send = emit): Running => {
        const job = { call: sent, ...orderOf(call), client };
        const running = question === undefined
          ? lanes.run({ ...job, emit })
          : lanes.run({ ...job, emit: keeping(question, send), ended: question.ended });
        return { subject: subjectOf(call), done: running.done, cancel: running.cancel };
      };
      switch (call.method) {
        case "stat":
          return ask("stat", call.key, { known, emit, run });
        case "mounts":
          return lanes.mountsStay ? ask("mounts", call.key, { known, emit, run }) : run();
        case "list":
          return run();
        case "usage":
          return askUsage(call.key, { known: knownUsages, emit, run });
        case "prepare":
        case "view":
          return run(changing(call, mountsAre()));
        case "commit": {
          // If no other commit is in progress, its lane syncs it, which is faster; others share a
          // sync.
          const sync = commits++ === 0;
          const { keep, ended } = changing(call);
          const running = run(
            {
              keep,
              ended: () => {
                commits--;
                ended();
              },
            },
            { ...call, sync },
          );
          return sync ? running : synced(running, syncer);
        }
        default:
          return run(changing(call));
      }
    },
  ]);
  return new Map([["containerd.services.snapshots.v1.Snapshots", new Map(methods)]]);
}

type Emit = (message: Bytes) => void;

/** Keeps an answer and sends it. */
const keeping = (question: Question, emit: Emit): Emit => (answer) => {
  question.keep(answer);
  emit(answer);
};

/** A call that is done when its change is on disk. */
function synced({ done, ...running }: Running, syncer: LogSyncer): Running {
  return { ...running, done: Promise.resolve(done).then(() => syncer.synced()) };
}

/** Answers a call, in a lane if the answer is unknown. */
function ask(
  asked: Asked,
  key: string,
  { known, emit, run }: {
    readonly known: KnownAnswers;
    readonly emit: Emit;
    readonly run: (question: Question) => Running;
  },
): Running {
  const answer = known.get(asked, key);
  if (answer === undefined) return run(known.asking(asked, key));
  emit(answer);
  return { subject: { key }, done: undefined, cancel: () => {} };
}

/** Answers a call for the space of a snapshot, in a lane if there is no recent count. */
function askUsage(
  key: string,
  { known, emit, run }: {
    readonly known: KnownAnswers;
    readonly emit: Emit;
    readonly run: (question: Question, sent: undefined, send: Emit) => Running;
  },
): Running {
  const answer = known.get("usage", key);
  if (answer !== undefined) {
    emit(answer);
    return { subject: { key, usage: "cached" }, done: undefined, cancel: () => {} };
  }
  const { keep, ended } = known.asking("usage", key);
  const keepAged = (message: Bytes) => {
    const { answer, age } = readAged(message);
    if (age > 0) keep(answer, age);
  };
  return run({ keep: keepAged, ended }, undefined, (message) => emit(readAged(message).answer));
}

/**
 * The properties that decide when a call may run beside others. Calls that only use the database
 * wait for no lock of the store.
 */
function orderOf(call: SnapshotCall): { key?: string; isFree?: boolean; isSlow?: boolean } {
  switch (call.method) {
    case "stat":
    case "list":
      return { isFree: true };
    case "update":
      return { isFree: true, key: call.key };
    case "usage":
      return { isSlow: true, isFree: true };
    case "cleanup":
      return { isSlow: true };
    default:
      return { key: call.key };
  }
}

/** The properties of a call for the log. */
function subjectOf(call: SnapshotCall): Record<string, string> {
  switch (call.method) {
    case "prepare":
    case "view":
      return { key: call.key, ...call.parent === "" ? {} : { parent: call.parent } };
    case "commit":
      return { key: call.key, name: call.name };
    case "update":
      return {
        key: call.key,
        ...call.fields.length === 0 ? {} : { fields: call.fields.join(" ") },
      };
    case "list":
      return call.filters.length === 0 ? {} : { filters: call.filters.join(" ") };
    case "cleanup":
      return {};
    default:
      return { key: call.key };
  }
}
