/** `check` on layers of overlay2: every record, link and file of the layout, damaged in every way. */
// @runs on ext4
// @runs long on xfs
import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { openDriver } from "../support/drivers.ts";
import { lacksFileSystem, must, needs, tempDir } from "../support/cases.ts";
import type { Repaired } from "../../lib/care/repair.ts";
import { isThere, names, read } from "../support/files.ts";
import {
  assertFound,
  check,
  copyOf,
  type Damage,
  DIRECTORY_DAMAGES,
  findEach,
  RECORD_DAMAGES,
  RECORD_FAULTS,
} from "./support.ts";

const lacking = lacksFileSystem("overlay");

/** A damage, which is given the short names of layers. */
type Case = Damage<(id: string) => string> & { readonly breaks: readonly string[] };

const APP = ["app", "top"];

/** The records of layer `app`, on which `top` stands. */
const RECORDS: Case[] = ["link", "lower"].flatMap((record) =>
  Object.entries(RECORD_DAMAGES).map(([name, damage]) => ({
    name: `${record} ${name}`,
    damage: (home) => damage(join(home, "app", record)),
    found: [`${record}-${RECORD_FAULTS[name]} app/${record}`],
    breaks: APP,
  }))
);

const DIRECTORIES: Case[] = ["diff", "work"].flatMap((directory) =>
  Object.entries(DIRECTORY_DAMAGES).map(([name, damage]) => ({
    name: `${directory} ${name}`,
    damage: (home) => damage(join(home, "app", directory)),
    found: [
      `${directory}-${name === "removed" ? "missing" : "not-a-directory"} app/${directory}`,
    ],
    breaks: APP,
    lost: directory === "diff" ? APP : [],
  }))
);

const set = (path: string, text: string) => Deno.writeTextFileSync(path, text);
const link = (path: string, target: string) => {
  try {
    Deno.removeSync(path);
  } catch { /* nothing was there */ }
  Deno.symlinkSync(target, path);
};

const OTHERS: Case[] = [
  {
    name: "link cut short",
    damage: (home, link) => set(join(home, "app/link"), link("app").slice(0, 10)),
    found: ["link-wrong app/link"],
    breaks: APP,
  },
  {
    name: "link of another layer's name",
    damage: (home, link) => set(join(home, "app/link"), link("other")),
    found: ["link-duplicate app/link", "short-link-duplicate l/<app>"],
    breaks: APP,
  },
  {
    name: "short link removed",
    damage: (home, link) => Deno.removeSync(join(home, "l", link("app"))),
    found: ["short-link-missing l/<app>"],
    breaks: APP,
  },
  {
    name: "short link replaced by a file",
    damage: (home, link) => {
      Deno.removeSync(join(home, "l", link("app")));
      set(join(home, "l", link("app")), "");
    },
    found: ["short-link-not-a-link l/<app>"],
    breaks: APP,
  },
  {
    name: "short link replaced by a directory",
    damage: (home, link) => {
      Deno.removeSync(join(home, "l", link("app")));
      Deno.mkdirSync(join(home, "l", link("app")));
    },
    found: ["short-link-not-a-link l/<app>"],
    breaks: APP,
  },
  {
    name: "short link to another layer",
    damage: (home, name) => link(join(home, "l", name("app")), "../other/diff"),
    found: ["short-link-wrong l/<app>"],
    breaks: APP,
  },
  {
    name: "short link out of the store",
    damage: (home, name) => link(join(home, "l", name("app")), "/etc"),
    found: ["short-link-wrong l/<app>"],
    breaks: APP,
  },
  {
    name: "second short link of a layer",
    damage: (home) => link(join(home, "l/SECOND"), "../app/diff"),
    found: ["short-link-duplicate l/SECOND"],
    breaks: APP,
  },
  {
    name: "short link of no layer",
    damage: (home) => link(join(home, "l/NOBODYS"), "../gone/diff"),
    found: ["short-link-dangling l/NOBODYS"],
    breaks: [],
  },
  {
    name: "a file among the short links",
    damage: (home) => set(join(home, "l/FILE"), ""),
    found: ["short-link-not-a-link l/FILE"],
    breaks: [],
  },
  {
    name: "short links replaced by a file",
    damage: (home) => {
      Deno.removeSync(join(home, "l"), { recursive: true });
      set(join(home, "l"), "");
    },
    found: [
      "short-link-missing l/<app>",
      "short-link-missing l/<base>",
      "short-link-missing l/<other>",
      "short-link-missing l/<top>",
      "short-links-missing l",
    ],
    breaks: ["app", "base", "other", "top"],
  },
  {
    name: "short links that others can change",
    damage: (home) => Deno.chmodSync(join(home, "l"), 0o777),
    found: ["short-links-owner l"],
    breaks: [],
  },
  {
    name: "lower twice the same",
    damage: (home, link) => set(join(home, "top/lower"), `l/${link("app")}:l/${link("app")}`),
    found: ["lower-duplicate top/lower"],
    breaks: ["top"],
  },
  {
    name: "lower cut short between two names",
    damage: (home, link) => set(join(home, "top/lower"), `l/${link("app")}`),
    found: ["lower-wrong top/lower"],
    breaks: ["top"],
  },
  {
    name: "lower cut short within a name",
    damage: (home) => set(join(home, "top/lower"), read(join(home, "top/lower")).slice(0, -5)),
    found: ["lower-dangling top/lower"],
    breaks: ["top"],
  },
  {
    name: "lower in another order",
    damage: (home, link) => set(join(home, "top/lower"), `l/${link("base")}:l/${link("app")}`),
    found: ["lower-wrong top/lower"],
    breaks: ["top"],
  },
  {
    name: "lower naming nobody",
    damage: (home) => set(join(home, "top/lower"), "l/NOBODY"),
    found: ["lower-dangling top/lower"],
    breaks: ["top"],
    lost: ["top"],
  },
  {
    name: "lower that leads out of the store",
    damage: (home) => set(join(home, "top/lower"), "l/../../../etc"),
    found: ["lower-invalid top/lower"],
    breaks: ["top"],
    lost: ["top"],
  },
  {
    name: "lower of itself",
    damage: (home, link) => set(join(home, "top/lower"), `l/${link("top")}`),
    found: ["lower-cycle top/lower"],
    breaks: ["top"],
    lost: ["top"],
  },
  {
    name: "lowers in a circle",
    damage: (home, link) => set(join(home, "app/lower"), `l/${link("top")}:l/${link("app")}`),
    found: ["lower-cycle app/lower", "lower-cycle top/lower"],
    breaks: APP,
  },
  {
    name: "mount point replaced by a file",
    damage: (home) => set(join(home, "top/merged"), ""),
    found: ["merged-not-a-directory top/merged"],
    breaks: ["top"],
  },
  {
    name: "mount point replaced by a link",
    damage: (home) => link(join(home, "top/merged"), "/etc"),
    found: ["merged-not-a-directory top/merged"],
    breaks: ["top"],
  },
  ...["directory", "link", "fifo"].map((type): Case => ({
    name: `mark of children replaced by a ${type}`,
    damage: (home) => {
      const path = join(home, "base/committed");
      Deno.removeSync(path);
      if (type === "directory") Deno.mkdirSync(path);
      else if (type === "fifo") must("mkfifo", path);
      else link(path, "/etc/passwd");
    },
    found: ["committed-not-a-file base/committed"],
    breaks: ["app", "base", "top"],
  })),
  {
    name: "layer emptied",
    damage: (home) => {
      for (const { name } of Deno.readDirSync(join(home, "app"))) {
        Deno.removeSync(join(home, "app", name), { recursive: true });
      }
    },
    found: ["layer-emptied app"],
    breaks: APP,
    lost: APP,
  },
  {
    name: "layer removed",
    damage: (home) => Deno.removeSync(join(home, "app"), { recursive: true }),
    found: ["lower-dangling top/lower", "short-link-dangling l/<app>"],
    breaks: ["top"],
    lost: ["top"],
  },
  ...["file", "link", "fifo"].map((type): Case => ({
    name: `layer replaced by a ${type}`,
    damage: (home) => {
      const path = join(home, "app");
      Deno.removeSync(path, { recursive: true });
      if (type === "file") set(path, "");
      else if (type === "fifo") must("mkfifo", path);
      else link(path, "other");
    },
    found: ["layer-not-a-directory app"],
    breaks: APP,
    lost: APP,
  })),
  {
    name: "layer that others can change",
    damage: (home) => Deno.chmodSync(join(home, "app"), 0o777),
    found: ["layer-owner app"],
    breaks: APP,
  },
  ...["staging", "incomplete", "parents", "id-maps", "content", "tars"].map((name): Case => ({
    name: `Veneer's ${name} replaced by a file`,
    damage: (home) => {
      if (isThere(join(home, ".veneer", name))) {
        Deno.removeSync(join(home, ".veneer", name), { recursive: true });
      }
      set(join(home, ".veneer", name), "");
    },
    found: [`${name}-not-a-directory .veneer/${name}`],
    breaks: [],
  })),
  {
    name: "Veneer's records that others can change",
    damage: (home) => Deno.chmodSync(join(home, ".veneer/staging"), 0o777),
    found: ["staging-owner .veneer/staging"],
    breaks: [],
  },
  {
    name: "Veneer's records replaced by a link",
    damage: (home) => {
      Deno.removeSync(join(home, ".veneer"), { recursive: true });
      link(join(home, ".veneer"), "/tmp");
    },
    found: ["own-records-not-a-directory .veneer"],
    breaks: [],
  },
  ...Object.entries({
    "garbage": ["id-maps-invalid", "0:100000"],
    "empty": ["id-maps-empty", ""],
    "one line": ["id-maps-invalid", "0:100000:65536"],
    "overlapping": ["id-maps-invalid", "0:1:10,5:20:10\n0:1:10"],
  }).map(([name, [kind, text]]): Case => ({
    name: `id maps: ${name}`,
    damage: (home) => set(join(home, ".veneer/id-maps/app"), text),
    found: [`${kind} .veneer/id-maps/app`],
    breaks: APP,
  })),
  {
    name: "mark of an incomplete layer replaced by a directory",
    damage: (home) => Deno.mkdirSync(join(home, ".veneer/incomplete/app")),
    found: ["incomplete-mark-not-a-file .veneer/incomplete/app"],
    breaks: APP,
  },
];

/** The files of each layer's tree. */
const TREES: Readonly<Record<string, readonly string[]>> = {
  base: ["base"],
  app: ["app", "base"],
  top: ["app", "base", "top"],
  other: ["other"],
};

/** Each layer that was not lost shows its files and those of the layers that it was made on. */
function examineTrees(root: string, { lost }: Repaired): void {
  using layers = openDriver({ root, driver: "overlay2" });
  const there = layers.layers();
  const gone = lost.map(({ name }) => name);
  for (const [id, files] of Object.entries(TREES)) {
    const layer = there.find((layer) => layer.id === id);
    if (layer === undefined) assert(gone.includes(id) || id === "app" && gone.includes("top"), id);
    else if (!layer.incomplete) {
      assertEquals(names(layers.get(id, { readOnly: true })), files, id);
      layers.put(id);
    }
  }
  layers.cleanup();
}

needs(lacking, "check: overlay2: each damage is found, and named right", async (t) => {
  using dir = tempDir();
  const root = join(dir.path, "root");
  {
    using layers = openDriver({ root, driver: "overlay2" });
    layers.create("base");
    layers.create("app", { parent: "base" });
    layers.create("top", { parent: "app" });
    layers.create("other");
    for (const id of Object.keys(TREES)) {
      Deno.writeTextFileSync(join(root, "overlay2", id, "diff", id), id);
    }
  }
  const name = (id: string) => read(join(root, "overlay2", id, "link"));
  const cases = [...RECORDS, ...DIRECTORIES, ...OTHERS];
  assert(cases.length >= 60, `${cases.length} cases`);
  const store = {
    root,
    scratch: dir.path,
    driver: "overlay2",
    names: name,
    nameOf: name,
    examine: examineTrees,
  };
  await findEach(t, store, cases);
});

needs(lacking, "check: overlay2: the rest of a damaged store works", () => {
  using dir = tempDir();
  const root = join(dir.path, "root");
  const warn = () => {};
  {
    using layers = openDriver({ root, driver: "overlay2" });
    layers.create("base");
    layers.create("app", { parent: "base" });
    layers.create("other");
    layers.create("child", { parent: "other" });
  }
  const name = (id: string) => read(join(root, "overlay2", id, "link"));
  for (const { damage } of [...RECORDS, ...DIRECTORIES]) {
    const copy = copyOf(root, dir.path);
    damage(join(copy, "overlay2"), name);
    using layers = openDriver({ root: copy, driver: "overlay2", warn });
    assertEquals(layers.diffSize("child", undefined), 0);
    assert(layers.layers().some(({ id, parent }) => id === "child" && parent === "other"));
  }
});

needs(lacking, "check: what is at work or left by a killed process is no damage", () => {
  using dir = tempDir();
  const root = join(dir.path, "root"), home = join(root, "overlay2");
  {
    using layers = openDriver({ root, driver: "overlay2" });
    layers.create("base");
    layers.create("app", { parent: "base" });
  }
  // A creation, killed before its rename: the link is there, and the layer's directory is staged.
  const staged = join(home, ".veneer/staging/half");
  Deno.mkdirSync(join(staged, "diff"), { recursive: true });
  set(join(staged, "link"), "HALFMADE");
  link(join(home, "l/HALFMADE"), "../half/diff");
  // Records that were made first, a mark of an apply, and directories of other programs.
  set(join(home, ".veneer/id-maps/half"), "0:100000:65536\n0:100000:65536");
  set(join(home, ".veneer/incomplete/app"), "");
  Deno.mkdirSync(join(home, "check-overlayfs-support123456/lower"), { recursive: true });
  set(join(home, "backingFsBlockDev"), "");
  assertFound(check(root, "overlay2"), []);
});

needs(lacking, "check: a layer that is named as Docker names its tests is a layer", () => {
  using dir = tempDir();
  const root = join(dir.path, "root");
  {
    using layers = openDriver({ root, driver: "overlay2" });
    for (const id of ["healthcheck1", "opaque-bug-check1"]) {
      layers.create(id);
      layers.create(`on-${id}`, { parent: id });
    }
  }
  assertFound(check(root, "overlay2"), []);
});

needs(lacking, "check: nothing changes in the store, not even times of access", () => {
  using dir = tempDir();
  const root = join(dir.path, "root");
  {
    using layers = openDriver({ root, driver: "overlay2" });
    layers.create("base");
    layers.create("app", { parent: "base" });
  }
  const paths = must("find", root, "-print0").split("\0").filter(Boolean);
  // relatime updates a time of access that is older than the last change; listing does, too.
  must("touch", "-h", "-a", "-d", "2001-01-01", ...paths);
  const times = () => must("stat", "-c", "%n %X %Y %Z %i", ...paths);
  const before = times();
  assertFound(check(root, "overlay2"), []);
  assertEquals(times(), before);
});
