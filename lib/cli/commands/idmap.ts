/**
 * The id maps of the option `--idmap`.
 *
 * @module
 */
import { IdMap, type IdMaps } from "../../base/id_maps.ts";
import type { Options } from "../parse.ts";

/**
 * Parses the option; `undefined` if it is not given.
 *
 * @throws {VeneerError} `invalid argument` if a range is invalid
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
