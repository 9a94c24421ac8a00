/** Removes the directory that it is told of, some milliseconds later. */
import { sleep } from "../../../lib/base/sleep.ts";

const scope = self as unknown as Worker;
scope.onmessage = ({ data }) => {
  sleep(10);
  Deno.removeSync(data, { recursive: true });
};
scope.postMessage("ready");
