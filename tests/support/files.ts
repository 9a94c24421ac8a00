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

/** The number of this process's descriptors, including the one from which the list is read. */
export const openDescriptors = (): number => [...Deno.readDirSync("/proc/self/fd")].length;

/** The open files of this process below a directory. */
export function openFilesBelow(directory: string): string[] {
  return names("/proc/self/fd").flatMap((name) => {
    try {
      const path = Deno.readLinkSync(`/proc/self/fd/${name}`);
      return path.startsWith(directory) ? [path] : [];
    } catch {
      // This is the descriptor from which the list was read.
      return [];
    }
  });
}
