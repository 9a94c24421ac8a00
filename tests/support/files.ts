/** Functions with which cases read files and directories. */

/** The text of a file. */
export const read = (path: string): string => Deno.readTextFileSync(path);

/** The sorted names in a directory. */
export const names = (path: string): string[] =>
  [...Deno.readDirSync(path)].map(({ name }) => name).sort();

/** Whether a path exists, even as a broken link. */
export function isThere(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** The permissions and the owner of an entry, such as `755 0:0`. */
export function ownership(path: string): string {
  const { mode, uid, gid } = Deno.lstatSync(path);
  return `${(mode! & 0o7777).toString(8)} ${uid}:${gid}`;
}

/**
 * The number of this process's descriptors, except events, sockets, and copies of the standard streams: threads of
 * Workers that have ended close theirs at any time after that.
 */
export function openDescriptors(): number {
  const standard = [0, 1, 2].map((fd) => Deno.readLinkSync(`/proc/self/fd/${fd}`));
  return ownTargets().filter((target) => !standard.includes(target)).length;
}

/** What this process's descriptors are open on. */
function openTargets(): string[] {
  return names("/proc/self/fd").flatMap((name) => {
    try {
      return [Deno.readLinkSync(`/proc/self/fd/${name}`)];
    } catch {
      return []; // The descriptor from which the list was read.
    }
  });
}

/** The same, except events and sockets. */
const ownTargets = () => openTargets().filter((target) => !/^(socket|anon_inode):/.test(target));

/**
 * The number of this process's descriptors that are not the runtime's own (event queues and sockets, of which it keeps
 * some for good at its first Worker), once those of Workers that have ended are gone: a thread closes its copies of
 * the standard streams some time after that. They are waited for, for 60 s at most.
 *
 * @param most the count that is waited for; by default, one that stays for 200 ms
 */
export async function settledDescriptors(most?: number): Promise<number> {
  const count = () => ownTargets().length;
  let last = count();
  for (let turn = 0, same = 0; turn < 3000; turn++) {
    if (most === undefined ? same === 10 : last <= most) break;
    await new Promise((resolve) => setTimeout(resolve, 20));
    const now = count();
    same = now === last ? same + 1 : 0;
    last = now;
  }
  return last;
}

/** The open files of this process below a directory. */
export const openFilesBelow = (directory: string): string[] =>
  openTargets().filter((path) => path.startsWith(directory));
