/**
 * The other names of changed files: a hard link that a layer makes to a file of its parent's leaves
 * the file as it was, so that its old name is no change. A tar of the changes alone would make a
 * file of its own of the new name.
 *
 * @module
 */
import { type Listing, readListing } from "../../../ffi/directory.ts";
import { Stat, tryStatat } from "../../../ffi/stat.ts";
import { DirectoryStack } from "../../tree/directory_stack.ts";
import type { Links } from "./links.ts";

/** A directory on the way down to the walk's position. */
interface Level {
  readonly listing: Listing;
  readonly path: string;
  next: number;
}

/**
 * Walks a tree for names of the inodes that have names to come, by an explicit stack.
 *
 * @param directory the root, which stays the caller's
 * @returns paths as changes have them
 */
export function* otherNames(directory: number, links: Links): Generator<string> {
  using stack = new DirectoryStack(directory);
  const stat = new Stat();
  const levels: Level[] = [{ listing: readListing(stack.fd), path: "", next: 0 }];
  for (let level; links.size > 0 && (level = levels.at(-1));) {
    const { listing } = level, at = level.next++;
    if (at >= listing.length) {
      levels.pop();
      if (levels.length > 0) stack.leave();
      continue;
    }
    const name = listing.name(at), path = `${level.path}/${listing.names[at]}`;
    if (tryStatat(stack.fd, name, stat) < 0) continue;
    if (!stat.isDirectory) {
      if (stat.links > 1 && links.has(stat)) yield path;
    } else if (stack.tryEnter(name) >= 0) {
      levels.push({ listing: readListing(stack.fd), path, next: 0 });
    }
  }
}
