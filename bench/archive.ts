/**
 * Archives of images, as `docker save` writes them.
 *
 * @module
 */
import { basename, join } from "@std/path";
import { run } from "./measure.ts";
import { DIRECTORY } from "./subject.ts";

/**
 * Makes a Docker archive of an image.
 *
 * @param layers its layers' tars, which are moved into it, the lowest first; with `.gz` behind its name one is packed
 * @returns the archive's path
 */
export function archive(layers: readonly string[], name: string): string {
  const directory = join(DIRECTORY, "image");
  const write = (name: string, value: unknown) =>
    Deno.writeTextFileSync(join(directory, name), JSON.stringify(value));
  Deno.mkdirSync(directory);
  const files = layers.map((tar, i) => {
    const file = `${i}-${basename(tar).replaceAll(/[^a-z0-9.]/g, "")}`;
    Deno.renameSync(tar, join(directory, file));
    return file;
  });
  const diffIds = files.map((file) => {
    const reading = file.endsWith(".gz") ? "zcat" : "cat";
    const args = ["-c", `${reading} "$0" | sha256sum`, join(directory, file)];
    const { stdout } = new Deno.Command("bash", { args }).outputSync();
    return `sha256:${new TextDecoder().decode(stdout).split(" ")[0]}`;
  });
  const architecture = Deno.build.arch === "x86_64" ? "amd64" : "arm64";
  const rootfs = { type: "layers", diff_ids: diffIds };
  write("config.json", { architecture, os: "linux", config: {}, rootfs });
  write("manifest.json", [{ Config: "config.json", RepoTags: [name], Layers: files }]);
  const path = join(DIRECTORY, "image.tar");
  run("tar", "-C", directory, "-cf", path, "manifest.json", "config.json", ...files);
  Deno.removeSync(directory, { recursive: true });
  return path;
}
