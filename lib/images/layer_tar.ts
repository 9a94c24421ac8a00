/**
 * The plain tar of one layer of an image, for a repair of another layer with these files.
 *
 * @module
 */
import { close, lseek, SEEK_SET, tryRead, writeAll } from "../../ffi/files.ts";
import { unwrap } from "../../ffi/unwrap.ts";
import { VeneerError } from "../base/errors.ts";
import type { Home } from "../store/home.ts";
import { findImages } from "./find.ts";
import { LayerStream } from "./layer_stream.ts";
import type { DecompressOptions } from "../tar/read/decompress.ts";
import { openSource } from "./open_source.ts";
import { HOST } from "./platform.ts";
import { openStaged } from "./spool.ts";

/** How much is copied at a time, in bytes. */
const PIECE = 256 << 10;

/** The layers of an image, the lowest first. */
export interface LayerNames {
  readonly diffIds: readonly string[];
  readonly chains: readonly string[];
}

const HOW: DecompressOptions = { isBounded: true, inflater: "auto" };

/** Returns the index of the wanted layer; `undefined` if the image does not have it. */
export type ChooseLayer = (layers: LayerNames) => number | undefined;

/** @throws {VeneerError} `not found` if the image does not have the layer */
export function chosen(choose: ChooseLayer, layers: LayerNames, image: string): number {
  const index = choose(layers);
  if (index !== undefined) return index;
  throw new VeneerError("not found", `${image} does not have the layer; name the layer's own tar`);
}

/**
 * Writes the tar of a layer of an archive or OCI layout to a file without a name, and verifies it.
 *
 * @param path as for {@linkcode openSource}
 * @param home the tar is kept on its disk
 * @returns the file, open at its start; the caller closes it
 * @throws {VeneerError} `not found` if no image for this platform has the layer, `invalid argument`
 * if the image is damaged
 */
export function layerTarOf(path: string, home: Home, choose: ChooseLayer): number {
  using source = openSource(path, home, HOW);
  const images = findImages(source, { platform: HOST, all: false });
  for (const { config, layers } of images) {
    const index = choose(config);
    if (index === undefined) continue;
    using stream = new LayerStream(layers[index], openStaged(home), HOW);
    return spooled(home, (output) => {
      const piece = new Uint8Array(PIECE);
      for (let got; (got = unwrap(tryRead(stream.output, piece), "read", path)) > 0;) {
        writeAll(output, piece.subarray(0, got));
      }
      stream.verify(config.diffIds[index]);
    });
  }
  return chosen(choose, { diffIds: [], chains: [] }, path);
}

/** Has a file without a name written; returns it, open at its start. */
export function spooled(home: Home, write: (output: number) => void): number {
  using scope = new DisposableStack();
  const output = scope.adopt(openStaged(home), close);
  write(output);
  lseek(output, 0n, SEEK_SET);
  scope.move();
  return output;
}
