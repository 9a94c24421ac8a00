/**
 * Writes a packed image: as a tar, or as a directory that appears when it is complete.
 *
 * @module
 */
import { STDOUT_FILENO, writeAll } from "../../ffi/files.ts";
import { withOutput } from "../base/descriptors.ts";
import { VeneerError } from "../base/errors.ts";
import { encodeHeader, type TarRecord } from "../tar/export/encode.ts";
import { BLOCK, DIRECTORY, padding, REGULAR } from "../tar/header.ts";
import {
  type Exported,
  type ExportOptions,
  type PackContext,
  type PackedImage,
  packImage,
  type WrittenImage,
} from "./export.ts";
import { familiar } from "./reference.ts";
import type { Spool, SpooledBlob } from "./spool.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** The size of the largest blob for a header without extensions: 8 GiB. */
const LARGEST_BLOB = 8 ** 11 - 1;

const LAYOUT = new TextEncoder().encode('{"imageLayoutVersion":"1.0.0"}');
const blobPath = ({ digest }: SpooledBlob) => `blobs/sha256/${digest.slice("sha256:".length)}`;

/**
 * Exports an image after all its layers were verified.
 *
 * @throws {VeneerError} `corrupt store` with the first file of a layer that has changed since its
 * import, unless the options have `onChanged`
 */
export function exportImage(
  image: WrittenImage,
  context: PackContext,
  options: ExportOptions,
): Exported {
  const files = packImage(image, context, options);
  writeImage(files, context.spool, options);
  return { id: files.id, names: image.names.map(familiar), manifest: files.manifest };
}

/** Writes an image to the output of the options. */
function writeImage(image: PackedImage, spool: Spool, options: ExportOptions): void {
  const { format, output } = options;
  if (format === "oci-dir") return writeDirectory(image, spool, output);
  withOutput(output === "-" ? STDOUT_FILENO : output, (fd) => writeTar(image, spool, options, fd));
}

/**
 * Writes a tar. The documents come first, because readers of streams need them before the blobs.
 */
function writeTar(
  { blobs, index, dockerManifest, repositories }: PackedImage,
  spool: Spool,
  { format, time }: ExportOptions,
  output: number,
): void {
  const writer = new TarFile(output, time);
  writer.add("manifest.json", dockerManifest);
  writer.add("repositories", repositories);
  if (format === "hybrid") {
    writer.add("oci-layout", LAYOUT);
    writer.add("index.json", index);
  }
  writer.begin("blobs/", DIRECTORY, 0o755, 0);
  writer.begin("blobs/sha256/", DIRECTORY, 0o755, 0);
  for (const blob of blobs) {
    writer.begin(blobPath(blob), REGULAR, 0o444, blob.size);
    spool.copy(blob, output);
    writer.pad(blob.size);
  }
  writeAll(output, new Uint8Array(2 * BLOCK));
}

/** A tar that is being written. */
class TarFile {
  constructor(readonly output: number, readonly time: number) {}

  add(path: string, bytes: Bytes): void {
    this.begin(path, REGULAR, 0o444, bytes.length);
    writeAll(this.output, bytes);
    this.pad(bytes.length);
  }

  begin(path: string, type: number, mode: number, size: number): void {
    if (size > LARGEST_BLOB) {
      throw new VeneerError(
        "limit exceeded",
        `${path} has ${size} bytes: at most 8 GiB are written`,
      );
    }
    const record: TarRecord = {
      path: new TextEncoder().encode(path),
      type,
      mode,
      uid: 0,
      gid: 0,
      size,
      seconds: this.time,
      nanos: 0,
      link: new Uint8Array(),
      major: 0,
      minor: 0,
      xattrs: [],
    };
    const header = new Uint8Array(BLOCK);
    encodeHeader(record, header, 0);
    writeAll(this.output, header);
  }

  pad(size: number): void {
    writeAll(this.output, new Uint8Array(padding(size)));
  }
}

/** Writes an OCI layout under a temporary name, and renames it at the end. */
function writeDirectory({ blobs, index }: PackedImage, spool: Spool, output: string): void {
  const path = output.replace(/\/+$/, ""), made = `${path}.veneer-${crypto.randomUUID()}`;
  Deno.mkdirSync(made, { mode: 0o755 });
  try {
    Deno.mkdirSync(`${made}/blobs/sha256`, { recursive: true });
    const write = (name: string, put: (fd: number) => void) => withOutput(`${made}/${name}`, put);
    write("oci-layout", (fd) => writeAll(fd, LAYOUT));
    write("index.json", (fd) => writeAll(fd, index));
    for (const blob of blobs) write(blobPath(blob), (fd) => spool.copy(blob, fd));
    // This replaces an empty directory, and nothing else.
    Deno.renameSync(made, path);
  } catch (error) {
    Deno.removeSync(made, { recursive: true });
    throw error instanceof Error && /ENOTEMPTY|not empty|os error (39|20)/i.test(error.message)
      ? new VeneerError("already exists", `${path} is there already; name a new directory`)
      : error;
  }
}
