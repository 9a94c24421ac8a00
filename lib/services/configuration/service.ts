/**
 * The service that an engine's configuration names.
 *
 * @module
 */

/** A service, as engines and service managers name it. */
export interface ServiceAddress {
  /** Its socket, an absolute path. */
  readonly address: string;
  /** Its name, which an engine calls the snapshotter. */
  readonly name: string;
  /** The directory of its stores, an absolute path. */
  readonly directory: string;
}

/** The default address of a service. */
export const DEFAULT_ADDRESS = "/run/veneer/containerd.sock";

/** The default address of the service for Docker, which finds it there by its name. */
export const DOCKER_ADDRESS = "/run/docker/plugins/veneer.sock";

/** The default name of a service. */
export const DEFAULT_NAME = "veneer";

/** A string of TOML: JSON's escapes are among its own. */
export const toml = (text: string): string => JSON.stringify(text);
