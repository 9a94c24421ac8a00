/** Stores of each driver that can be damaged here, and what is done with their layers. */
import { openDriver } from "../../support/drivers.ts";
import { openSnapshotter } from "../../support/drivers.ts";
import { close, O_RDONLY, O_RDWR, open as openFile } from "../../../ffi/files.ts";
import type { GraphDriver } from "../../../lib/graph/driver.ts";
import { IDENTITY, type IdMaps } from "../../../lib/base/id_maps.ts";
import type { Snapshotter } from "../../../lib/snapshots/snapshotter.ts";
import { IS_LONG, lacksFileSystem, must, needs, TEST_FS } from "../../support/cases.ts";
import { Victim } from "../../support/victim.ts";
import { storeDir } from "../../support/store_dir.ts";

export const NOBODY = 65534;

export interface Subject {
  readonly name: string;
  readonly lacking: string | undefined;
  /** What the driver needs at a root before a store is opened. */
  readonly prepare?: (root: string) => void;
}

const onBtrfs = TEST_FS.startsWith("btrfs");
const ranOnExt4 = onBtrfs && !IS_LONG ? "it ran on ext4" : undefined;
export const SUBJECTS: readonly Subject[] = [
  { name: "overlay2", lacking: lacksFileSystem("overlay") ?? ranOnExt4 },
  {
    name: "aufs",
    lacking: onBtrfs ? "aufs does not stand on btrfs" : undefined,
    // On a kernel without aufs a store must be there.
    prepare: (root) => {
      Deno.mkdirSync(`${root}/aufs/layers`, { recursive: true });
      Deno.mkdirSync(`${root}/snapshots/aufs`, { recursive: true });
      Deno.writeTextFileSync(`${root}/snapshots/aufs/metadata.db`, "");
    },
  },
  { name: "btrfs", lacking: onBtrfs ? undefined : "it needs btrfs" },
];

/** One case's store: opened anew for each command, as the program does. */
export class Case {
  readonly warnings: string[] = [];

  constructor(readonly subject: Subject, readonly path: string) {
    Deno.mkdirSync(this.root, { mode: 0o711 });
    subject.prepare?.(this.root);
  }

  get root(): string {
    return `${this.path}/root`;
  }

  get home(): string {
    return `${this.root}/${this.subject.name}`;
  }

  #options(idMaps: IdMaps) {
    const options = this.subject.name === "overlay2" ? ["overlay2.allow_btrfs=true"] : [];
    const warn = (message: string) => void this.warnings.push(message);
    return { root: this.root, driver: this.subject.name, options, idMaps, warn };
  }

  open(idMaps = IDENTITY): GraphDriver {
    return openDriver(this.#options(idMaps));
  }

  snapshots(): Snapshotter {
    return openSnapshotter(this.#options(IDENTITY));
  }

  /** Applies a tar of one file. */
  apply(id: string): void {
    const tar = `${this.path}/one.tar`;
    Deno.mkdirSync(`${this.path}/tree`, { recursive: true });
    Deno.writeTextFileSync(`${this.path}/tree/file`, "applied");
    must("tar", "-C", `${this.path}/tree`, "-cf", tar, "file");
    const fd = openFile(tar, O_RDONLY);
    try {
      this.open().applyDiff(id, undefined, fd);
    } finally {
      close(fd);
    }
  }
}

export function hostileCase(
  subject: Subject,
  name: string,
  body: (store: Case, victim: Victim) => void,
): void {
  needs(subject.lacking, `hostile store, ${subject.name}: ${name}`, () => {
    using dir = storeDir();
    const store = new Case(subject, dir.path);
    const victim = new Victim(`${dir.path}/victim`);
    body(store, victim);
    victim.assertUntouched();
  });
}

/** Something put in the place of another thing. */
export function replace(path: string, plant: (path: string) => void): void {
  Deno.removeSync(path, { recursive: true });
  plant(path);
}

export const ids = (driver: GraphDriver) => driver.layers().map(({ id }) => id);
/** What can be done with a layer. */
export function commands(store: Case, id: string): [string, () => unknown][] {
  const null_ = () => openFile("/dev/null", O_RDWR);
  return [
    ["ls", () => store.open().layers()],
    ["inspect", () => store.open().getMetadata(id)],
    ["changes", () => [...store.open().changes(id, undefined)]],
    ["diff", () => {
      const fd = null_();
      try {
        store.open().diff(id, undefined, fd);
      } finally {
        close(fd);
      }
    }],
    ["diffsize", () => store.open().diffSize(id, "")],
    ["mount", () => {
      const driver = store.open();
      driver.get(id);
      driver.put(id);
    }],
    ["mount read-only", () => {
      const driver = store.open();
      driver.get(id, { readOnly: true });
      driver.put(id);
    }],
    ["mounts", () => store.open().mounts(id)],
    ["apply", () => store.apply(id)],
    ["create", () => store.open().create("child", { parent: id })],
    ["rm child", () => store.open().remove("child")],
    ["cleanup", () => store.open().cleanup()],
    ["rm", () => store.open().remove(id)],
  ];
}
