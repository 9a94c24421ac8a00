/**
 * Calls that wait for a lane: each client's in their order, and of the clients one after the other,
 * so that a client with many calls delays another one by one call at most.
 *
 * @module
 */

/** The waiting items, and the client of each. */
export interface Waiting {
  /** Any object that stands for the client; without one the item has a client of its own. */
  readonly client?: object;
}

export class FairQueue<T extends Waiting> implements Iterable<T> {
  /** The items of each waiting client; the client whose turn is next comes first. */
  readonly #clients = new Map<object, Set<T>>();

  add(item: T): void {
    const client = item.client ?? item;
    const items = this.#clients.get(client);
    if (items === undefined) this.#clients.set(client, new Set([item]));
    else items.add(item);
  }

  /** The item whose turn it is. */
  get first(): T | undefined {
    const items = this.#clients.values().next().value;
    return items?.values().next().value;
  }

  /**
   * Takes one out, in its turn or not; its client's next turn comes after everyone's else. False if
   * it is not there.
   */
  delete(item: T): boolean {
    const client = item.client ?? item;
    const items = this.#clients.get(client);
    if (!items?.delete(item)) return false;
    this.#clients.delete(client);
    if (items.size > 0) this.#clients.set(client, items);
    return true;
  }

  *[Symbol.iterator](): Iterator<T> {
    for (const items of [...this.#clients.values()]) yield* [...items];
  }
}
