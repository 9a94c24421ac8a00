/**
 * Reports the state of a service to its manager, by the protocol of sd_notify(3): a datagram of
 * assignments to the socket in `NOTIFY_SOCKET`, which is a path or an abstract name.
 *
 * @module
 */
import { sendDatagram } from "../../ffi/datagram.ts";
import { messageOf } from "../base/errors.ts";
import type { Warn } from "../base/warn.ts";

/** The messages to a manager: the service answers requests, or it is about to end. */
export type ServiceState = "READY=1" | "STOPPING=1";

/**
 * Reports a state to the service manager, if `NOTIFY_SOCKET` is set.
 *
 * @param warn gets the reason if that fails; the service continues
 */
export function notifyManager(state: ServiceState, warn: Warn): void {
  const address = Deno.env.get("NOTIFY_SOCKET");
  if (address === undefined || address === "") return;
  try {
    if (!/^[/@]/.test(address)) throw new Error(`NOTIFY_SOCKET is neither a path nor an @name`);
    sendDatagram(address, new TextEncoder().encode(state));
  } catch (error) {
    warn(`the service manager was not told ${state}: ${messageOf(error)}`);
  }
}
