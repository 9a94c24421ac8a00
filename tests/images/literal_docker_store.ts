/**
 * A store of Docker's as literal files, for drivers that no Docker runs with here.
 */
import { join } from "@std/path";
import { gzipSync } from "node:zlib";
import { dir, file, tar } from "../tar/support/tar_builder.ts";
import { type Built, chainsOf, hex, image, json, sha256 } from "./builder.ts";

type Driver = "overlay2" | "aufs" | "btrfs";

const DIRECTORIES: Readonly<Record<Driver, (id: string) => string>> = {
  overlay2: (id) => `${id}/diff`,
  aufs: (id) => `diff/${id}`,
  btrfs: (id) => `subvolumes/${id}`,
};

/** CRC-64 of ISO 3309 of `123456789`, the check value of its definition. */
export const DIGITS = { text: "123456789", sum: "b90956c775a41001" };

export const BOX = "b".repeat(64), BASE = "a".repeat(64), OWN = "c".repeat(64);

/** Makes an image `app` with the files `etc/digits` and `gone`, and a container `box` on it. */
export function writeDockerStore(root: string, driver: Driver): Built {
  const put = (path: string, content: string | Uint8Array) => {
    Deno.mkdirSync(join(root, path, ".."), { recursive: true });
    const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
    Deno.writeFileSync(join(root, path), bytes);
  };
  const plain = tar(dir("etc/"), file("etc/digits", DIGITS.text), file("gone", "gone"));
  const built = image([{ plain, file: plain, mediaType: "" }]);
  const [chain] = chainsOf(built.layers), at = plain.indexOf(DIGITS.text.charCodeAt(0), 1024);
  const base64 = (bytes: Uint8Array) => bytes.toBase64();
  const record = [
    { type: 2, payload: base64(plain.subarray(0, at)) },
    {
      type: 1,
      name: "etc/digits",
      size: DIGITS.text.length,
      payload: base64(Uint8Array.fromHex(DIGITS.sum)),
    },
    { type: 2, payload: base64(plain.subarray(at + DIGITS.text.length)) },
  ].map((part, position) => JSON.stringify({ ...part, position })).join("\n");
  const images = `image/${driver}`, layer = `${images}/layerdb/sha256/${chain.slice(7)}`;
  const names = { app: { "app:latest": built.id } };
  put(`${images}/repositories.json`, json({ Repositories: names }));
  put(`${images}/imagedb/content/sha256/${hex(built.config)}`, built.config);
  put(`${layer}/cache-id`, BASE);
  put(`${layer}/diff`, sha256(plain));
  put(`${layer}/size`, String(DIGITS.text.length + 4));
  put(`${layer}/tar-split.json.gz`, new Uint8Array(gzipSync(`${record}\n`)));
  const mounts = `${images}/layerdb/mounts/${BOX}`;
  put(`${mounts}/mount-id`, OWN);
  put(`${mounts}/init-id`, `${OWN}-init`);
  put(`${mounts}/parent`, chain);
  const config = {
    ID: BOX,
    Name: "/box",
    Driver: driver,
    Image: built.id,
    Config: { Image: "app", Hostname: "box", Cmd: ["/bin/it"], Env: null },
  };
  put(`containers/${BOX}/config.v2.json`, json(config));
  const files = (id: string, content: Record<string, string>) => {
    const directory = `${driver}/${DIRECTORIES[driver](id)}`;
    Deno.mkdirSync(join(root, directory), { recursive: true });
    for (const [path, text] of Object.entries(content)) put(`${directory}/${path}`, text);
  };
  const below = { "etc/digits": DIGITS.text, gone: "gone" };
  files(BASE, below);
  files(`${OWN}-init`, driver === "btrfs" ? below : {});
  if (driver === "btrfs") files(OWN, { "etc/digits": DIGITS.text, new: "new" });
  else files(OWN, { new: "new", ...driver === "aufs" && { ".wh.gone": "" } });
  return built;
}
