/**
 * The maps that `--idmap` asks a mount for.
 *
 * @module
 */
import { IdMap, type IdMaps } from "../../base/id_maps.ts";
import type { Options } from "../parse.ts";

/**
 * The maps of the option; `undefined` if it is not given.
 *
 * @throws {VeneerError} `invalid argument` for a range that is invalid
 */
export function idmapOf(options: Options): IdMaps | undefined {
  const texts = options.values("idmap").flatMap((text) => text.split(","));
  if (texts.length === 0) return undefined;
  const map = (kind: "u" | "g") =>
    IdMap.parse(texts.flatMap((text) => {
      const [, prefix, range] = /^(?:([ug]):)?(.*)$/s.exec(text)!;
      return prefix === undefined || prefix === kind ? [range] : [];
    }));
  return { uids: map("u"), gids: map("g") };
}
