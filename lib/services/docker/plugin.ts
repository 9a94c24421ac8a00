/**
 * The calls of Docker's graph driver protocol (docs/extend/plugins_graphdriver.md of docker/cli).
 *
 * @module
 */
import { codeOf, messageOf, VeneerError } from "../../base/errors.ts";
import { answer, answerValue, HttpError, readBody } from "./http.ts";
import type { InitRecord } from "./init_record.ts";
import { notInitialised, OpenedStore, type StoreContext } from "./opened_store.ts";
import {
  type Fields,
  type InitRequest,
  parseFields,
  readCreate,
  readId,
  readInit,
  text,
} from "./requests.ts";
import { LayerTars } from "./tars.ts";

/**
 * The longest wait of a mount for processes that use the former one, and the pause between tries,
 * in milliseconds.
 */
const BUSY_TIME = 5000, BUSY_PAUSE = 100;

/** The method and layer of a request, for the log. */
export interface Asked {
  readonly method: string;
  readonly id: string;
}

/** Does a call on the open store. */
type Action = (store: OpenedStore, fields: Fields) => Promise<Response>;

const DONE = { Err: "" };

/** The plugin, which has one store for one daemon. */
export class DockerPlugin {
  readonly #tars = new LayerTars();
  /** By layer: the processes that used its mount at the last Put, if they are known. */
  readonly #holders = new Map<string, string>();
  #store: Promise<OpenedStore> | undefined;
  /** Whether a daemon has used the store since this service started. */
  #isUsed = false;

  constructor(private readonly context: StoreContext, private readonly record: InitRecord) {}

  /** Opens the store of the last Init, if there was one. @throws as opening the store does */
  async reopen(): Promise<OpenedStore | undefined> {
    const init = this.record.read(this.context.warn);
    if (this.#store !== undefined || init === undefined) return await this.#store;
    return await this.#open(init);
  }

  #open(init: InitRequest): Promise<OpenedStore> {
    const store = this.#store = OpenedStore.open(init, this.context);
    store.catch(() => {
      if (this.#store === store) this.#store = undefined;
    });
    return store;
  }

  async close(): Promise<void> {
    const store = await this.#store?.catch(() => undefined);
    this.#store = undefined;
    await store?.close();
  }

  /**
   * Answers a request.
   *
   * @param asked gets the method and the layer as soon as they are known
   * @throws {HttpError} or the errors of the store
   */
  async handle(request: Request, asked: (what: Asked) => void): Promise<Response> {
    const url = new URL(request.url);
    const method = url.pathname.slice(1);
    asked({ method, id: "" });
    if (!Object.hasOwn(this.#actions, method) && !OTHERS.includes(method)) {
      throw new HttpError(404, `there is no call ${JSON.stringify(method)}`);
    }
    if (request.method !== "POST") {
      throw new HttpError(405, `${method} is called by POST`, { allow: "POST" });
    }
    if (method === "GraphDriver.ApplyDiff") {
      const id = url.searchParams.get("id") ?? "", parent = url.searchParams.get("parent") ?? "";
      asked({ method, id });
      readId({ ID: id });
      return await this.#tars.applyDiff(await this.#opened(), { id, parent }, request.body);
    }
    const fields = parseFields(await readBody(request));
    if (method === "Plugin.Activate") return answerValue({ Implements: ["GraphDriver"] });
    if (method === "GraphDriver.Capabilities") {
      return answerValue({ Capabilities: { ReproducesExactDiffs: false } });
    }
    if (method === "GraphDriver.Init") return await this.#init(readInit(fields));
    asked({ method, id: text(fields, "ID") });
    return await this.#actions[method](await this.#opened(), fields);
  }

  async #opened(): Promise<OpenedStore> {
    const store = await (this.#store ?? this.reopen());
    if (store === undefined) throw notInitialised();
    this.#isUsed = true;
    return store;
  }

  /** Begins to serve a daemon that has started. Its counts begin with the existing mounts. */
  async #init(init: InitRequest): Promise<Response> {
    const before = await this.#store?.catch(() => undefined);
    if (this.#isUsed && before !== undefined && before.init.home !== init.home) {
      throw new VeneerError(
        "failed precondition",
        `this plugin keeps the layers at ${before.init.home}, and none at ${init.home}; ` +
          "start another one for those",
      );
    }
    let store = before;
    if (before === undefined || JSON.stringify(before.init) !== JSON.stringify(init)) {
      this.#store = undefined;
      await before?.close();
      store = await this.#open(init);
    }
    await store!.run({ method: "recount" });
    this.record.write(init);
    this.#isUsed = true;
    return answerValue(DONE);
  }

  readonly #actions: Readonly<Record<string, Action>> = {
    "GraphDriver.Create": (store, fields) => this.#create(store, "create", fields),
    "GraphDriver.CreateReadWrite": (store, fields) =>
      this.#create(store, "createReadWrite", fields),
    "GraphDriver.Remove": async (store, fields) => {
      const id = readId(fields);
      await this.#tars.end(id);
      await store.run({ method: "remove", id }, { key: id, isSlow: true });
      this.#tars.removed(id);
      this.#holders.delete(id);
      return answerValue(DONE);
    },
    "GraphDriver.Get": (store, fields) => this.#get(store, fields),
    "GraphDriver.Put": async (store, fields) => {
      const id = readId(fields);
      const [part] = await store.run({ method: "put", id }, { key: id });
      const { holders } = JSON.parse(new TextDecoder().decode(part)) as { holders: string[] };
      if (holders.length > 0) this.#holders.set(id, holders.join(", "));
      return answerValue(DONE);
    },
    "GraphDriver.Exists": async (store, fields) =>
      answer(await store.run({ method: "exists", id: readId(fields) }, { isFree: true })),
    "GraphDriver.Status": async (store) =>
      answer(await store.run({ method: "status" }, { isFree: true })),
    "GraphDriver.GetMetadata": async (store, fields) =>
      answer(await store.run({ method: "metadata", id: readId(fields) }, { isFree: true })),
    "GraphDriver.Cleanup": async (store) => {
      await store.run({ method: "cleanup" }, { isSlow: true });
      return answerValue(DONE);
    },
    "GraphDriver.Diff": (store, fields) =>
      this.#tars.diff(store, { id: readId(fields), parent: text(fields, "Parent") }),
    "GraphDriver.Changes": async (store, fields) =>
      answer(await store.run({ method: "changes", ...compared(fields) }, { isSlow: true })),
    "GraphDriver.DiffSize": async (store, fields) =>
      answer(await store.run({ method: "diffSize", ...compared(fields) }, { isSlow: true })),
  };

  async #create(
    store: OpenedStore,
    method: "create" | "createReadWrite",
    fields: Fields,
  ): Promise<Response> {
    const request = readCreate(fields);
    await store.run({ method, ...request }, { key: request.id });
    this.#tars.created(request.id);
    return answerValue(DONE);
  }

  /** Mounts a layer. Waits for a limited time for processes that still use its former mount. */
  async #get(store: OpenedStore, fields: Fields): Promise<Response> {
    const id = readId(fields), label = text(fields, "MountLabel") || undefined;
    const end = performance.now() + BUSY_TIME;
    for (;;) {
      try {
        const parts = await store.run({ method: "get", id, label }, { key: id });
        this.#holders.delete(id);
        return answer(parts);
      } catch (error) {
        if (codeOf(error) !== "in use") throw error;
        if (performance.now() > end) throw this.#kept(id, error);
      }
      await new Promise((resolve) => setTimeout(resolve, BUSY_PAUSE));
    }
  }

  /** The error with the processes that use the mount, if they are known. */
  #kept(id: string, error: unknown): VeneerError {
    const holders = this.#holders.get(id);
    const message = messageOf(error) + (holders === undefined ? "" : `: ${holders}`);
    return new VeneerError("in use", message);
  }
}

/** The calls that are not actions on an open store. */
const OTHERS = [
  "Plugin.Activate",
  "GraphDriver.Init",
  "GraphDriver.Capabilities",
  "GraphDriver.ApplyDiff",
];

const compared = (fields: Fields) => ({ id: readId(fields), parent: text(fields, "Parent") });
