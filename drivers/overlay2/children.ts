/**
 * Which layers stand on another, for whoever would remove it.
 *
 * Docker's layout says in each layer what is below it, and nowhere what is above. So every layer is looked at, as
 * cheaply as can be: by few calls on one open home, of which only the first entry of `lower` is read, and once for as
 * long as the file is the same and unchanged. Nothing is remembered of a file that was changed so lately that it could
 * have been changed again since without a trace.
 *
 * @module
 */
import { decode } from "../../ffi/cstring.ts";
import { readEntries } from "../../ffi/directory.ts";
import { nameText } from "../../ffi/entry_name.ts";
import {
  O_NOFOLLOW,
  O_NONBLOCK,
  O_RDONLY,
  RESOLVE_INSIDE,
  tryOpenat2,
  tryRead,
  withFd,
} from "../../ffi/files.ts";
import { Stat, tryFstat, tryStatRelative } from "../../ffi/stat.ts";
import { openDirectory } from "../../lib/tree/confined.ts";
import { isId } from "../../lib/base/ids.ts";
import { type Layout, LINKS } from "./layout.ts";

/** Bytes that hold the first entry of any `lower`, `l/<name>:`, where a name has 255 at most. */
const FIRST = 260;

/** How old a change must be to be told from a later one, in seconds: more than the tick of any file system's clock. */
const TICK = 2;

/** A `lower` as it was read. */
interface Known {
  readonly inode: bigint;
  readonly seconds: number;
  readonly nanos: number;
  readonly first: string;
}

/** The children of a home's layers. */
export class Children {
  readonly #known = new Map<string, Known>();
  readonly #stat = new Stat();
  readonly #buffer = new Uint8Array(FIRST);

  constructor(readonly layout: Layout) {}

  /** The layers whose `lower` begins with a link to a layer: all its children, and perhaps damaged ones besides. */
  of(id: string): string[] {
    const { home } = this.layout;
    const parents = new Map<string, boolean>();
    const isChild = (child: string, first: string) => {
      let answer = parents.get(first);
      if (answer === undefined) {
        answer = this.#leadsTo(first, child, id);
        parents.set(first, answer);
      }
      return answer;
    };
    return home.root.hold(() =>
      withFd(
        openDirectory(home.join()),
        (directory) =>
          readEntries(directory).map(({ name }) => nameText(name)).filter((name) => {
            if (name === LINKS || !isId(name)) return false;
            const first = this.#first(directory, name);
            return first !== undefined && isChild(name, first);
          }),
      )
    );
  }

  #leadsTo(first: string, child: string, id: string): boolean {
    try {
      return this.layout.resolve(first, child) === id;
    } catch {
      return false; // No layer's link, or damaged: then it is no child's of any.
    }
  }

  /** The first entry of a layer's `lower`; `undefined` where there is none. */
  #first(directory: number, id: string): string | undefined {
    const path = `${id}/lower`, stat = this.#stat;
    if (tryStatRelative(directory, path, stat) < 0 || !stat.isFile) return undefined;
    const { inode, changeSeconds: seconds, changeNanos: nanos } = stat;
    const known = this.#known.get(id);
    if (known?.inode === inode && known.seconds === seconds && known.nanos === nanos) {
      return known.first;
    }
    const fd = tryOpenat2(directory, path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW, RESOLVE_INSIDE);
    if (fd < 0) return undefined;
    return withFd(fd, () => {
      if (tryFstat(fd, stat) < 0 || !stat.isFile) return undefined;
      const length = tryRead(fd, this.#buffer);
      if (length <= 0) return undefined;
      const text = decode(this.#buffer.slice(0, length));
      const first = /^[^:\n]*/.exec(text)![0];
      if (stat.inode === inode && Date.now() / 1000 - seconds > TICK) {
        this.#known.set(id, { inode, seconds, nanos, first });
      }
      return first;
    });
  }
}
