/**
 * The place of a layer in an image: by the digest of its tar, by Docker's records, or by the number
 * of layers below it.
 *
 * @module
 */
import { CONTENT } from "../store/content_records.ts";
import type { GraphDriver } from "../graph/driver.ts";
import type { ChooseLayer } from "../images/layer_tar.ts";
import type { CheckedStore } from "./check.ts";
import { readContent } from "./content_record.ts";
import { readDockerRecords } from "./docker_records.ts";
import { StoreView } from "./store_view.ts";

/** Returns a function that finds a layer of a store in an image. */
export function placeOf(
  { root, driver }: CheckedStore,
  layers: GraphDriver,
  id: string,
): ChooseLayer {
  const diffId = recordedDiffId(root, driver, id);
  const uses = readDockerRecords(root, driver, () => {})?.uses ?? [];
  const chain = uses.find((use) => use.layer === id && use.chain !== undefined)?.chain;
  const below = countBelow(layers, id);
  return ({ diffIds, chains }) => {
    const index = diffId !== undefined
      ? diffIds.indexOf(diffId)
      : chain !== undefined
      ? chains.indexOf(`sha256:${chain}`)
      : below ?? -1;
    return index >= 0 && index < diffIds.length ? index : undefined;
  };
}

function recordedDiffId(root: string, driver: string, id: string): string | undefined {
  using view = StoreView.open(root, driver);
  const content = view && readContent(view.own(CONTENT, id));
  return typeof content === "object" ? content.diffId : undefined;
}

/** The number of a layer's ancestors; `undefined` if one is unknown. */
function countBelow(layers: GraphDriver, id: string): number | undefined {
  const seen = new Set<string>();
  for (let at = id; !seen.has(at);) {
    const { parent } = layers.layer(at);
    if (parent === "") return seen.size;
    if (parent === undefined) return undefined;
    seen.add(at);
    at = parent;
  }
  return undefined;
}
