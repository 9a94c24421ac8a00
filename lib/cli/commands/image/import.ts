/**
 * `veneer image import`: imports complete images.
 *
 * @module
 */
import { VeneerError } from "../../../base/errors.ts";
import { parsePlatform, type Platform } from "../../../images/platform.ts";
import { openProgress } from "../../progress.ts";
import type { Run } from "../context.ts";

export const run: Run = async (context) => {
  const { options, operands: [file], output } = context;
  const wanted = options.value("platform"), all = options.flag("all");
  if (wanted !== undefined && all) {
    throw new VeneerError("usage", "--all is every platform: leave out --platform");
  }
  if (options.value("docker") !== undefined && (wanted !== undefined || all)) {
    throw new VeneerError("usage", "--docker imports one image, by its name: leave out platforms");
  }
  context.checkDockerOptions();
  if (file === "-" && Deno.stdin.isTerminal()) {
    throw new VeneerError("usage", "standard input is a terminal; name an image or use a pipe");
  }
  const platform = wanted === undefined ? undefined : readPlatform(wanted);
  const settings = {
    name: options.value("name"),
    platform,
    all,
    allowExpansion: options.flag("allow-expansion"),
    report: {
      layer: (_chain: string, number: number, count: number) =>
        openProgress(`layer ${number} of ${count}`),
    },
  };
  const imported = options.value("docker") === undefined
    ? await context.createImages((images) => images.import(file, settings))
    : await context.readDocker((store) =>
      context.createImages((images) => {
        const found = store.images.found(store.images.find(file), () => images.openSpool());
        return images.importFound([found], store.root, settings);
      }), { isDriverOurs: true });
  output.list(
    imported,
    (image) => image,
    ({ id, names }) => [...names, id].join(" "),
  );
};

/** @throws {VeneerError} `usage` */
function readPlatform(text: string): Platform {
  const platform = parsePlatform(text);
  if (platform !== undefined) return platform;
  throw new VeneerError(
    "usage",
    `option --platform ${JSON.stringify(text)}: write it as OS/ARCH[/VARIANT], such as linux/arm64`,
  );
}
