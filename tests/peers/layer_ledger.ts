/**
 * What a plugin's log tells of its layers: which ones the daemon was told of, and which ones may be
 * left of processes that were killed.
 */

/** A call in the log, or the start of a plugin (`serving`). */
interface Event {
  readonly method: string;
  readonly id: string;
  readonly status: number;
}

/**
 * The most calls between a layer's last one and the kill of its daemon or of the plugin. Other
 * layers have calls at the same time.
 */
const NEAR = 4;

/**
 * The longest time between the making of a layer and a kill in the middle of that, in milliseconds, on a machine that
 * makes none slower than a tenth of it.
 */
const MAKING = 2000;

/** How long a layer took that was made. */
const MADE = / msg=call method=GraphDriver\.Create\w* id=\S+ status=200 ms=([\d.]+)/g;

const CALL = / msg=(?:serving|call method=GraphDriver\.(\w+) id=(\S+) status=(\d+)) /g;

/** The calls of a plugin on its layers, in the order of their ends. */
export class LayerLedger {
  readonly #events: readonly Event[];
  readonly #making: number;

  /**
   * @param log of all processes of the plugin, one after the other
   * @param kills when the plugin was killed, in milliseconds since 1970
   */
  constructor(log: string, private readonly kills: readonly number[]) {
    if (/ lost=\d/.test(log)) throw new Error("lines of the log are lost");
    const slowest = Math.max(0, ...Array.from(log.matchAll(MADE), ([, ms]) => Number(ms)));
    this.#making = Math.max(MAKING, 10 * slowest);
    this.#events = Array.from(
      log.matchAll(CALL),
      ([, method = "serving", id = "", status]) => ({ method, id, status: Number(status) }),
    );
  }

  /** The layers that were reported made, and whose removal was never asked for. */
  kept(): string[] {
    const kept = new Set<string>();
    for (const { method, id, status } of this.#events) {
      if (isCreate(method) && status === 200) kept.add(id);
      if (method === "Remove") kept.delete(id);
    }
    return [...kept];
  }

  /** Whether the removal of a layer was reported done. */
  isRemoved(id: string): boolean {
    const last = this.#events.findLast(({ method, id: of, status }) =>
      of === id && status === 200 && (isCreate(method) || method === "Remove")
    );
    return last?.method === "Remove";
  }

  /** Whether the plugin was killed just after a layer's last call. A call that was under way is in no log. */
  isCutOff(id: string): boolean {
    const last = this.#events.findLastIndex((event) => event.id === id);
    return last >= 0 && this.#after(last).some(({ method }) => method === "serving");
  }

  /** The events after one that may have been at the same time. */
  #after(index: number): readonly Event[] {
    return this.#events.slice(index + 1, index + 2 + NEAR);
  }

  /**
   * Whether a kill explains that a layer is there of which the daemon does not know:
   * - the plugin was killed when it had made the layer, and had reported nothing. The daemon repeats
   *   the call without its body, and is refused;
   * - or one of both was killed during or just after a call on the layer, and the daemon recorded
   *   nothing.
   *
   * With a container's layer the daemon forgets the one below, which it made just before.
   *
   * @param madeAt when the layer was made, in milliseconds since 1970
   */
  isOfKill(id: string, madeAt: (id: string) => number): boolean {
    const last = this.#events.findLastIndex((event) => event.id === id);
    if (last < 0) {
      const made = madeAt(id);
      return this.kills.some((kill) => kill - this.#making < made && made < kill);
    }
    if (this.isRemoved(id)) return false;
    if (this.#after(last).some(({ method }) => method === "Init" || method === "serving")) {
      return true;
    }
    return id.endsWith("-init") && this.isOfKill(id.slice(0, -"-init".length), madeAt);
  }
}

const isCreate = (method: string) => method === "Create" || method === "CreateReadWrite";
