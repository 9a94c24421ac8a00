/**
 * `veneer ls`: lists layers.
 *
 * @module
 */
import { formatSize } from "../../base/sizes.ts";
import type { GraphDriver, LayerInfo } from "../../graph/driver.ts";
import { microsecondTime, secondTime } from "../times.ts";
import type { Run } from "./context.ts";

/** The fields of `--format`. */
const FIELDS = ["id", "parent", "state", "uses", "created", "mounted", "size", "bytes"];

export const run: Run = async (context) => {
  const { options, output } = context;
  const line = await context.template(FIELDS);
  const driver = await context.open();
  const layers = driver.layers();
  const times = timesOf(driver, layers);
  if (line !== undefined) {
    output.list(layers, () => "", (layer) => line(fieldsOf(driver, layer, times)));
  } else if (options.flag("quiet")) {
    output.list(layers, ({ id }) => id, ({ id }) => id);
  } else if (output.json) {
    output.list(
      layers,
      (layer) => ({ ...layerToJson(layer), created: inJson(times().get(layer.id)) }),
      String,
    );
  } else {
    const header = ["ID", "PARENT", "STATE", "USES", "CREATED", "MOUNTED AT"];
    const rows = layers.map((layer) => {
      const { id, parent, state, uses, created, mounted } = fieldsOf(driver, layer, times);
      return [id, parent, state, uses, created, mounted].map((field) => field());
    });
    await output.listTable([header, ...rows], options.flag("no-trunc"));
  }
};

/** The creation times of layers, read when the first one is needed. */
type Times = () => ReadonlyMap<string, number>;

function timesOf(driver: GraphDriver, layers: readonly LayerInfo[]): Times {
  let times: ReadonlyMap<string, number> | undefined;
  return () => times ??= driver.creationTimes(layers.map(({ id }) => id));
}

/** All fields of a layer, as text. */
function fieldsOf(driver: GraphDriver, layer: LayerInfo, times: Times) {
  const { id, parent, references, mountPoint } = layer;
  return {
    id: () => id,
    parent: () => parent ?? "?",
    state: () => stateOf(layer),
    uses: () => String(references),
    created: () => {
      const created = times().get(id);
      return created === undefined ? "?" : secondTime(created);
    },
    mounted: () => mountPoint ?? "",
    size: () => formatSize(driver.diskUsage(id)),
    bytes: () => String(driver.diskUsage(id)),
  };
}

/** The creation time of a layer, for JSON. */
export function createdIn(driver: GraphDriver, { id }: LayerInfo): string | null {
  return inJson(driver.creationTimes([id]).get(id));
}

const inJson = (time: number | undefined) => time === undefined ? null : microsecondTime(time);

/** All fields of a layer, for JSON: an unknown parent and a missing mount are null. */
export function layerToJson({ id, parent, incomplete, references, mountPoint }: LayerInfo) {
  return { id, parent: parent ?? null, incomplete, references, mountPoint: mountPoint ?? null };
}

/** A layer's state in one word. */
export function stateOf({ incomplete, mountPoint }: LayerInfo): string {
  return incomplete ? "incomplete" : mountPoint ? "mounted" : "ready";
}
