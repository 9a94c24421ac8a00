/**
 * `veneer rm`: removes layers, going on past those that cannot be.
 *
 * @module
 */
import type { Run } from "./context.ts";

export const run: Run = async (context) => {
  const { operands: ids, output } = context;
  const driver = await context.open();
  const removed: string[] = [];
  let status = 0;
  for (const id of ids) {
    try {
      driver.remove(id);
      removed.push(id);
    } catch (error) {
      const failure = output.error(error);
      status ||= failure;
    }
  }
  output.result({ removed }, () => []);
  return status;
};
