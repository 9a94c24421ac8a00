/**
 * The images of a store of snapshots on their way to another one: their records, and those of their
 * layers' tars.
 *
 * @module
 */
import { close, read, withFd, writeAll } from "../../ffi/files.ts";
import { fstat } from "../../ffi/stat.ts";
import { IDENTITY } from "../base/id_maps.ts";
import { ImageRecords } from "../images/records.ts";
import { TarRecords } from "../images/tar_records.ts";
import type { Snapshots } from "../snapshots/snapshots.ts";
import { storeHome } from "../snapshots/store_home.ts";
import type { MovedImage } from "./calls.ts";

/** Bytes that are moved at a time. */
const CHUNK = 256 << 10;

/** The images of one end. */
export class MovedImages {
  readonly #records: ImageRecords;
  readonly #tars: TarRecords;

  constructor(snapshots: Snapshots) {
    this.#records = new ImageRecords(snapshots.database);
    this.#tars = new TarRecords(storeHome(snapshots.home, IDENTITY).home);
  }

  /** Every image. */
  list(): MovedImage[] {
    return this.#records.all().map(({ id, config, manifest, snapshot, imported }) => ({
      id,
      config: config.toBase64(),
      manifest: manifest?.toBase64() ?? null,
      snapshot,
      imported,
      names: this.#records.namesOf(id),
    }));
  }

  /**
   * Records images. A name that another image has stays that one's; returns those names.
   */
  add(images: readonly MovedImage[]): string[] {
    const taken: string[] = [];
    const isFree = (id: string, name: string) => {
      const holder = this.#records.named(name);
      if (holder === undefined || holder === id) return true;
      taken.push(name);
      return false;
    };
    this.#records.add(images.map(({ id, config, manifest, snapshot, imported, names }) => ({
      id,
      config: Uint8Array.fromBase64(config),
      manifest: manifest === null ? null : Uint8Array.fromBase64(manifest),
      snapshot,
      imported,
      names: names.filter((name) => isFree(id, name)),
    })));
    return taken;
  }

  /** Writes the record of a layer's tar; nothing if there is none. */
  writeTarRecord(diffId: string, output: number): void {
    const record = this.#tars.open(diffId);
    if (record !== undefined) withFd(record.fd, (fd) => copy(fd, output));
  }

  /** Keeps a record, unless it is empty. Reads the input to its end, and closes it. */
  keepTarRecord(diffId: string, input: number): void {
    withFd(input, () => {
      const record = this.#tars.create();
      try {
        copy(input, record);
        if (fstat(record).size > 0) this.#tars.keep(record, diffId);
      } finally {
        close(record);
      }
    });
  }
}

function copy(from: number, to: number): void {
  const buffer = new Uint8Array(CHUNK);
  for (let got; (got = read(from, buffer)) > 0;) writeAll(to, buffer.subarray(0, got));
}
