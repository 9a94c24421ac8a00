/**
 * Telling a service manager how a service is doing, by sd_notify(3)'s protocol: a datagram of
 * assignments to the socket that `NOTIFY_SOCKET` names, a path or an abstract name.
 *
 * @module
 */
import { sendDatagram } from "../../ffi/datagram.ts";
import { messageOf } from "../base/errors.ts";
import type { Warn } from "../base/warn.ts";

/** The messages to a manager: that requests are answered, or that the service is about to end. */
export type ServiceState = "READY=1" | "STOPPING=1";

/**
 * Tells the service manager, if one started this process and listens.
 *
 * @param warn gets the reason if the manager cannot be notified; the service works nevertheless
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
