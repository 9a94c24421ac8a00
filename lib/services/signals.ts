/**
 * The signals that end a service.
 *
 * @module
 */

/**
 * Resolves with the first signal that asks the service to end. The next one has its usual effect.
 */
export function endSignal(): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const signals = ["SIGTERM", "SIGINT"] as const;
  const handlers = signals.map((signal) => {
    const handler = () => {
      for (const [i, other] of signals.entries()) Deno.removeSignalListener(other, handlers[i]);
      resolve(signal);
    };
    Deno.addSignalListener(signal, handler);
    return handler;
  });
  return promise;
}
