/**
 * Stores whose layers others make and change, too: what the cases on the children of layers share.
 */
import { openDriver } from "../../support/drivers.ts";
import type { GraphDriver } from "../../../lib/graph/driver.ts";
import { IDENTITY } from "../../../lib/base/id_maps.ts";
import { lacksFileSystem, must, needs } from "../../support/cases.ts";
import * as aufs from "../aufs/support.ts";
import { lacking as lacksBtrfs } from "../btrfs/support.ts";
import { storeDir } from "../../support/store_dir.ts";

export const DRIVERS = ["overlay2", "btrfs", "aufs"] as const;
export type DriverName = typeof DRIVERS[number];

/** The layers of a driver at a root, by Veneer and by other programs. */
export class Layers {
  warnings: string[] = [];

  constructor(readonly root: string, readonly driver: DriverName) {}

  get home(): string {
    return `${this.root}/${this.driver}`;
  }

  get index(): string {
    return `${this.home}/.veneer/children`;
  }

  /** The driver as a new process has it. */
  open(): GraphDriver {
    const warn = (message: string) => void this.warnings.push(message);
    if (this.driver === "aufs") return aufs.graphOf(aufs.open(this.root), undefined, warn);
    const options = this.driver === "overlay2" ? ["overlay2.allow_btrfs=true"] : [];
    return openDriver({ root: this.root, driver: this.driver, options, idMaps: IDENTITY, warn });
  }

  /** The file that records a layer's parent. */
  record(id: string): string {
    if (this.driver === "overlay2") return `${this.home}/${id}/lower`;
    return this.driver === "aufs"
      ? `${this.home}/layers/${id}`
      : `${this.home}/.veneer/parents/${id}`;
  }

  /** What it holds of a layer on a base layer. */
  recordOn(base: string): string {
    if (this.driver === "overlay2") {
      return `l/${Deno.readTextFileSync(`${this.home}/${base}/link`)}`;
    }
    return this.driver === "aufs" ? `${base}\n` : base;
  }

  /** Makes a layer on a base layer as Docker does. */
  makeAsDocker(id: string, base: string): void {
    const { home } = this;
    if (this.driver === "btrfs") {
      const subvolumes = `${home}/subvolumes`;
      must("btrfs", "subvolume", "snapshot", `${subvolumes}/${base}`, `${subvolumes}/${id}`);
      return;
    }
    const parts = this.driver === "aufs"
      ? [`diff/${id}`, `mnt/${id}`]
      : [`${id}/diff`, `${id}/work`];
    for (const part of parts) Deno.mkdirSync(`${home}/${part}`, { recursive: true });
    if (this.driver === "overlay2") {
      const link = linkOf(id);
      Deno.writeTextFileSync(`${home}/${id}/link`, link);
      Deno.symlinkSync(`../${id}/diff`, `${home}/l/${link}`);
    }
    Deno.writeTextFileSync(this.record(id), this.recordOn(base));
  }

  /** Removes it as Docker does. */
  removeAsDocker(id: string): void {
    const { home } = this;
    if (this.driver === "btrfs") {
      must("btrfs", "subvolume", "delete", `${home}/subvolumes/${id}`);
      return;
    }
    const parts = this.driver === "aufs"
      ? [`layers/${id}`, `diff/${id}`, `mnt/${id}`]
      : [`l/${linkOf(id)}`, id];
    for (const part of parts) Deno.removeSync(`${home}/${part}`, { recursive: true });
  }
}

const linkOf = (id: string) => id.toUpperCase().replaceAll(/[^A-Z0-9]/g, "").padEnd(26, "A");

/** Why a driver has no cases here, if it has none. */
export const lacks: Record<DriverName, string | undefined> = {
  overlay2: lacksFileSystem("overlay"),
  btrfs: lacksBtrfs,
  aufs: aufs.refused,
};

/** Registers a case for every driver, each with a store of its own. */
export function childrenCases(name: string, body: (layers: Layers) => void | Promise<void>): void {
  for (const driver of DRIVERS) {
    needs(lacks[driver], `${driver}: ${name}`, async () => {
      using dir = storeDir();
      await body(new Layers(`${dir.path}/root`, driver));
    });
  }
}

/** Waits until what was written can be told from what is written next. */
export const settle = () => new Promise((resolve) => setTimeout(resolve, 2100));
