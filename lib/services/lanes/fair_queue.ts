/**
 * Calls that wait for a lane: each client's in their order, and of the clients one after the other, so that one with
 * many calls holds up nobody else for longer than one of them takes.
 *
 * @module
 */

/** What waits, and on behalf of which client. */
export interface Waiting {
  /** Any object that stands for the client; without one it is a client of its own. */
  readonly client?: object;
}

export class FairQueue<T extends Waiting> implements Iterable<T> {
  /** Of each client that waits, those whose turn is next first. */
  readonly #clients = new Map<object, Set<T>>();

  add(item: T): void {
    const client = item.client ?? item;
    const items = this.#clients.get(client);
    if (items === undefined) this.#clients.set(client, new Set([item]));
    else items.add(item);
  }

  /** The one whose turn it is. */
  get first(): T | undefined {
    const items = this.#clients.values().next().value;
    return items?.values().next().value;
  }

  /** Takes one out, in its turn or not; its client's next turn comes after everyone's else. False if it is not there. */
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
