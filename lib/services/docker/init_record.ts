/**
 * The arguments of a daemon's Init, recorded until the machine's next boot.
 *
 * A daemon sends them once, and does not notice a restart of the plugin. They cannot be recorded in
 * the store, because they contain the store's path. After a boot the daemon starts as well, and
 * sends them again.
 *
 * @module
 */
import { codeOf, messageOf } from "../../base/errors.ts";
import type { Warn } from "../../base/warn.ts";
import { readWhole, writeMetadata } from "../../store/metadata.ts";
import { serviceRecords } from "../../store/run_root.ts";
import { type InitRequest, parseFields, readInit } from "./requests.ts";

/** The record of the service at an address. */
export class InitRecord {
  readonly #name: string;

  private constructor(name: string) {
    this.#name = name;
  }

  /** @param address the service's address */
  static async of(address: string): Promise<InitRecord> {
    const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(address));
    return new InitRecord(`docker-${new Uint8Array(hash).toHex().slice(0, 32)}`);
  }

  /** The recorded arguments. @param warn gets the reason if they cannot be read */
  read(warn: Warn): InitRequest | undefined {
    try {
      const text = readWhole(serviceRecords().join(this.#name));
      if (text === undefined) return undefined;
      return readInit(parseFields(new TextEncoder().encode(text)));
    } catch (error) {
      if (codeOf(error) !== "not found") warn(`the last Init is not known: ${messageOf(error)}`);
      return undefined;
    }
  }

  write({ home, options, uidmap, gidmap }: InitRequest): void {
    const ranges = (map: readonly string[]) =>
      map.map((range) => {
        const [container_id, host_id, size] = range.split(":").map(Number);
        return { container_id, host_id, size };
      });
    const text = JSON.stringify({
      Home: home,
      Opts: options,
      UIDMaps: ranges(uidmap),
      GIDMaps: ranges(gidmap),
    });
    writeMetadata(serviceRecords().join(this.#name), text);
  }
}
