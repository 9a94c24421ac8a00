/**
 * `veneer exists`: its exit status shows whether a layer exists.
 *
 * @module
 */
import { EXIT_STATUS } from "../exit_status.ts";
import { hasStore } from "../existing_store.ts";
import type { Run } from "./context.ts";

export const run: Run = async (context) => {
  const { operands: [id], output } = context;
  const exists = hasStore(context.root, "layers") && (await context.open()).exists(id);
  output.result({ id, exists }, () => []);
  return exists ? 0 : EXIT_STATUS["not found"];
};
