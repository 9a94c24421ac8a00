/**
 * Files and directories as cases look at them.
 */

/** The text of a file. */
export const read = (path: string): string => Deno.readTextFileSync(path);

/** Names in a directory, sorted. */
export const names = (path: string): string[] =>
  [...Deno.readDirSync(path)].map(({ name }) => name).sort();

/** Whether anything is at a path, a broken link too. */
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

/** How many descriptors this process has, the one counted that the list is read from. */
export const openDescriptors = (): number => [...Deno.readDirSync("/proc/self/fd")].length;

/** The files below a directory that this process has open. */
export function openFilesBelow(directory: string): string[] {
  return names("/proc/self/fd").flatMap((name) => {
    try {
      const path = Deno.readLinkSync(`/proc/self/fd/${name}`);
      return path.startsWith(directory) ? [path] : [];
    } catch {
      // The descriptor that the list was read from.
      return [];
    }
  });
}
