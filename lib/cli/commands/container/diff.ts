/**
 * `veneer container diff`: lists the changes of a Docker container.
 *
 * @module
 */
import { formatChange } from "../../../tree/changes.ts";
import type { Run } from "../context.ts";

export const run: Run = (context) => {
  const { operands: [text], output } = context;
  return context.readDocker(({ containers }) => {
    const { id } = containers.find(text, (message) => output.warn(message));
    using scope = new DisposableStack();
    const changes = containers.changes(id, scope).changes();
    output.list(changes, ({ kind, path }) => ({ kind, path }), formatChange);
  });
};
