/**
 * What the configuration of an engine says of the service that it is to use.
 *
 * @module
 */

/** A service, as an engine or a service manager is told of it. */
export interface ServiceAddress {
  /** Its socket, an absolute path. */
  readonly address: string;
  /** Its name, which an engine calls the snapshotter. */
  readonly name: string;
  /** The directory of its stores, an absolute path. */
  readonly directory: string;
}

/** Where a service listens if nothing else is said. */
export const DEFAULT_ADDRESS = "/run/veneer/containerd.sock";

/** What a service is called if nothing else is said. */
export const DEFAULT_NAME = "veneer";

/** A string of TOML: JSON's escapes are among its own. */
export const toml = (text: string): string => JSON.stringify(text);
