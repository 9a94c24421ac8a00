/**
 * Layers at random: tars of two or three layers that lie on one another, with what makes drivers
 * differ: directories that are only implied, links that paths lead over, hard links to files of
 * layers below, whiteouts of something and of nothing, entries that become another type, odd modes,
 * names, times and attributes.
 */
import { randomOf } from "../../support/random.ts";
import { acl, aclText } from "./acl.ts";
import {
  type Attributes,
  entriesOf,
  type Kind,
  Model,
  type Node,
  parts,
  type Place,
  Refused,
  type Step,
} from "./model.ts";

/**
 * - `extracted`: only what GNU tar makes of it, too: no whiteouts, no path over a link that leaves
 *   the tree or ends nowhere, nothing in the place of a full directory;
 * - `layered`: all of it.
 */
export type Flavour = "extracted" | "layered";

/**
 * How many chains of layers are made at a time, each in a directory of its own but for the first.
 */
export const CHAINS = 20;

const NAMES = ["a", "b", "c", "d", "usr", "lib", "etc", "\xff\xfe", "n".repeat(255), "x y", "\n"];
const MODES = [0o644, 0o600, 0o755, 0o4755, 0o2755, 0o1777, 0o7777, 0o400, 0, 0o750];

type Pick = (limit: number) => number;

/**
 * The tars of a seed, lowest layer first.
 *
 * @param longest how long names are at most, in bytes
 */
export function layersOf(seed: number, flavour: Flavour, longest = 255): Step[][] {
  const pick = randomOf(seed), model = new Model(false);
  return Array.from({ length: 2 + pick(2) }, () => {
    model.beginLayer();
    return Array.from({ length: CHAINS }, (_, i) => {
      const names = NAMES.map((name) => name.slice(0, longest));
      const maker = new LayerMaker(model, pick, flavour, i === 0 ? "" : `t${i}`, names);
      return maker.steps(6 + pick(14));
    }).flat();
  });
}

/** The steps of one chain in one layer. */
class LayerMaker {
  constructor(
    readonly model: Model,
    readonly pick: Pick,
    readonly flavour: Flavour,
    /** The chain's own directory. */
    readonly top: string,
    readonly names: readonly string[],
  ) {}

  steps(count: number): Step[] {
    const steps: Step[] = [];
    while (count-- > 0) {
      const step = this.#step();
      if (step === undefined) continue;
      try {
        this.model.take(step);
        steps.push(step);
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
      }
    }
    return steps;
  }

  #step(): Step | undefined {
    const choice = this.pick(this.flavour === "layered" ? 100 : 72);
    if (choice < 10) return this.#link();
    if (choice < 72) return this.#put(choice);
    if (choice < 92) return { hide: this.#path() };
    return { hideAll: parts(this.#path())[0] };
  }

  #put(choice: number): Step | undefined {
    const path = choice === 10 ? this.top : this.#path();
    const there = this.#at(path);
    const kind = path === "" ? "directory" : this.#kindOf(choice);
    if (!this.#goes(path, kind, there)) return undefined;
    const as = this.#make(kind, path);
    return { put: path, as, attributes: this.#attributes(as, there) };
  }

  #kindOf(choice: number): Kind["kind"] {
    if (choice < 34) return "file";
    if (choice < 52) return "directory";
    if (choice < 64) return "symlink";
    return (["fifo", "char", "block"] as const)[choice % 3];
  }

  #make(kind: Kind["kind"], path: string): Kind {
    const { pick } = this;
    switch (kind) {
      case "file":
        return { kind, data: "x".repeat(pick(20) === 0 ? 200_000 : pick(40)) + pick(1000) };
      case "symlink":
        return { kind, target: this.#target(path) };
      case "char":
      case "block":
        return { kind, major: 1 + pick(300), minor: pick(2) === 0 ? pick(256) : 70_000 };
      default:
        return { kind };
    }
  }

  /** What a link says: mostly the way to a directory or a file that is there. */
  #target(path: string): string {
    const { pick } = this;
    if (pick(8) === 0) return ["nowhere/at/all", ".", "..", "../../../..", "/"][pick(5)];
    const goal = this.#any(() => true)?.[0] ?? "a";
    if (pick(3) === 0) return `/${goal}`;
    const up = "../".repeat(path.split("/").length - 1);
    return up + goal || ".";
  }

  #link(): Step | undefined {
    const target = this.#any(({ as }) => as.kind !== "directory");
    if (target === undefined) return undefined;
    let [to] = target;
    const [above, name] = parts(to);
    // By another way, if there is one.
    const way = this.#any((node, path) => node.as.kind === "symlink" && this.#leadsTo(path, above));
    if (way !== undefined && this.pick(2) === 0) to = `${way[0]}/${name}`;
    const path = this.#path();
    if (!this.#goes(path, "file", this.#at(path)) || !this.#isInside(parts(to)[0])) {
      return undefined;
    }
    return { link: path, to };
  }

  /**
   * A path to make something at, or to hide: an entry that is there, or not, below a directory or a
   * link.
   */
  #path(): string {
    const { pick, names: all } = this;
    const name = () => all[pick(all.length)];
    if (pick(3) === 0) {
      const entry = this.#any((_, path) => path !== this.top);
      if (entry !== undefined) return entry[0];
    }
    const at = pick(3) === 0
      ? this.#any((node, path) => node.as.kind === "symlink" && this.#leadsTo(path))
      : this.#any(({ as }) => as.kind === "directory");
    const names = Array.from({ length: 1 + (pick(4) === 0 ? pick(3) : 0) }, name);
    return [at?.[0] ?? this.top, ...names].filter((part) => part !== "").join("/");
  }

  #find(path: string): Place | undefined {
    try {
      return this.model.find(path);
    } catch (error) {
      if (error instanceof Refused) return undefined;
      throw error;
    }
  }

  #leadsTo(path: string, directory?: string): boolean {
    const place = this.#find(path);
    if (place === undefined || place.missing.length > 0) return false;
    return directory === undefined || place.directory === this.#find(directory)?.directory;
  }

  /** What is at a path now. */
  #at(path: string): Node | undefined {
    if (path === "") return this.model.root;
    const [above, name] = parts(path), place = this.#find(above);
    return place === undefined || place.missing.length > 0
      ? undefined
      : place.directory.children.get(name);
  }

  /** Whether an entry of a kind can go to a path. */
  #goes(path: string, kind: Kind["kind"], there: Node | undefined): boolean {
    if (path === "" || path === this.top) return kind === "directory";
    if (this.flavour === "layered") return true;
    const [above] = parts(path), place = this.#find(above);
    if (place === undefined || !this.#isInside(above)) return false;
    const { mode, xattrs } = place.directory.attributes;
    if (xattrs.has(acl.default)) return false;
    const makesDirectory = place.missing.length > 0 || kind === "directory";
    if (makesDirectory && (mode & 0o2000) !== 0) return false;
    if (there === undefined) return true;
    if (there.as.kind === "directory") return kind === "directory";
    return there.as.kind !== "symlink" || !this.#leadsTo(path);
  }

  /**
   * Whether GNU tar could be led over a path: not out of its directory, and not to where nothing
   * is.
   */
  #isInside(path: string): boolean {
    if (this.flavour === "layered") return true;
    const place = this.#find(path);
    return place !== undefined && !place.climbs && !place.dangles;
  }

  #any(fits: (node: Node, path: string) => boolean): [string, Node] | undefined {
    const root = this.top === "" ? this.model.root : this.model.root.children.get(this.top);
    if (root === undefined) return undefined;
    const isOwn = (path: string) => this.top !== "" || !/^t\d/.test(path);
    const entries = [...entriesOf(root, this.top)]
      .filter(([path, node]) => isOwn(path) && fits(node, path));
    return entries.length === 0 ? undefined : entries[this.pick(entries.length)];
  }

  #attributes(as: Kind, there: Node | undefined): Attributes {
    const { pick } = this;
    const isOld = this.flavour === "extracted" && as.kind === "directory" &&
      there?.as.kind === "directory";
    const xattrs = new Map(isOld ? there.attributes.xattrs : []);
    const hasAcl = [...xattrs.keys()].some((name) => name.startsWith("system."));
    const old = isOld ? there.attributes.mode : 0;
    const mode = as.kind === "symlink"
      ? 0o777
      : hasAcl
      ? old
      : MODES[pick(MODES.length)] | old & 0o2000; // GNU tar sets modes of directories late.
    const isPlain = as.kind === "file" || as.kind === "directory";
    if (pick(4) === 0) xattrs.set("trusted.note", Uint8Array.of(pick(256), 0, pick(256)));
    if (isPlain && pick(4) === 0) xattrs.set("user.note", Uint8Array.of(pick(256)));
    if (isPlain && pick(8) === 0 && !hasAcl) xattrs.set(acl.access, acl.of(mode, pick(5)));
    if (as.kind === "directory" && pick(10) === 0 && !isOld) {
      xattrs.set(acl.default, acl.of(0o750, 7));
    }
    if (as.kind === "file" && pick(8) === 0) {
      // struct vfs_cap_data of linux/capability.h, revision 2: cap_net_raw, effective.
      xattrs.set(
        "security.capability",
        Uint8Array.fromHex("0100000200200000000000000000000000000000"),
      );
    }
    // Before any clock that this runs by.
    const seconds = BigInt(pick(3) === 0 ? 0 : pick(1_700_000_000)) * 1_000_000_000n;
    const time = seconds + BigInt(pick(2) === 0 ? 0 : pick(1_000_000_000));
    return { mode, uid: pick(3) * pick(70_000), gid: pick(3) * pick(70_000), time, xattrs };
  }
}

export { aclText };
