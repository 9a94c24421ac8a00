/**
 * The service in an engine's configuration.
 *
 * @module
 */

/** The address and names of a service, for engines and service managers. */
export interface ServiceAddress {
  /** The absolute path of its socket. */
  readonly address: string;
  /** Its name, which an engine uses as the snapshotter's. */
  readonly name: string;
  /** The absolute path of the directory of its stores. */
  readonly directory: string;
}

/** The default address of a service. */
export const DEFAULT_ADDRESS = "/run/veneer/containerd.sock";

/**
 * The default address of the service for Docker, which finds plugins in this directory by their
 * names.
 */
export const DOCKER_ADDRESS = "/run/docker/plugins/veneer.sock";

/** The default name of a service. */
export const DEFAULT_NAME = "veneer";

/** A string in TOML, which has all escapes of JSON. */
export const toml = (text: string): string => JSON.stringify(text);
