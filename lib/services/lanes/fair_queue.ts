/**
 * The calls that wait for a lane. Clients take turns, and each client's calls keep their order, so
 * a client with many calls delays another client by at most one call.
 *
 * @module
 */

/** An item that waits. */
export interface Waiting {
  /** An object that identifies the client; by default each item counts as a separate client. */
  readonly client?: object;
}

export class FairQueue<T extends Waiting> implements Iterable<T> {
  /** The items of each client. The client whose turn is next comes first. */
  readonly #clients = new Map<object, Set<T>>();

  add(item: T): void {
    const client = item.client ?? item;
    const items = this.#clients.get(client);
    if (items === undefined) this.#clients.set(client, new Set([item]));
    else items.add(item);
  }

  /** The next item; `undefined` if none waits. */
  get first(): T | undefined {
    const items = this.#clients.values().next().value;
    return items?.values().next().value;
  }

  /**
   * Removes an item, in its turn or not. Its client's next turn comes after those of all others.
   * Returns false if the item is not in the queue.
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
