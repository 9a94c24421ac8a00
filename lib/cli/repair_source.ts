/**
 * The source of `repair --from`: the tar of a layer, a copy of its directory, or an image with the
 * layer.
 *
 * @module
 */
import { O_DIRECTORY, O_RDONLY, open, withFd } from "../../ffi/files.ts";
import { fstat, tryLstat } from "../../ffi/stat.ts";
import { type ChooseLayer, layerTarOf } from "../images/layer_tar.ts";
import { LAYOUT } from "../images/layout.ts";
import type { Home } from "../store/home.ts";
import { ConfinedRoot } from "../tree/confined.ts";
import type { CommandContext } from "./commands/context.ts";
import { inflatedArchiveKind } from "./image_archive.ts";
import { inputSize, withTarInput } from "./tar_input.ts";

/** The home of a store, and the way to find the wanted one in an image. */
interface Wanted {
  readonly home: Home;
  readonly choose: ChooseLayer;
}

/**
 * Runs `use` on the source.
 *
 * @param from the path of a tar, a directory, an archive of images or an OCI layout; `-` for a tar
 * from standard input; otherwise the name or id of an image in the store
 */
export async function withRepairSource<T>(
  context: CommandContext,
  from: string,
  { home, choose }: Wanted,
  use: (source: number | ConfinedRoot) => T,
): Promise<T> {
  if (from === "-") return withTarInput(from, use);
  const stat = tryLstat(`${from}/.`) ?? tryLstat(from);
  if (stat === undefined) {
    return withFd(await context.readImages((images) => images.layerTar(from, choose)), use);
  }
  if (isImage(from)) {
    return withFd(layerTarOf(from, home, choose), use);
  }
  if (!stat.isDirectory) {
    return withTarInput(from, (input) => {
      inputSize(input, from);
      return use(input);
    });
  }
  const path = Deno.realPathSync(from);
  return use(withFd(open(path, O_RDONLY | O_DIRECTORY), (fd) => ConfinedRoot.of(path, fd)));
}

/** Whether a path is that of an OCI layout or of an image's archive, which may be compressed. */
function isImage(path: string): boolean {
  const layout = tryLstat(`${path}/${LAYOUT}`);
  if (layout !== undefined) return layout.isFile && tryLstat(`${path}/blobs`)?.isDirectory === true;
  return withFd(
    open(path, O_RDONLY),
    (fd) => fstat(fd).isFile && inflatedArchiveKind(fd) !== undefined,
  );
}
