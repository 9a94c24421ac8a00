/** Types of the functions of `@std/path` (POSIX) that this project uses. */
export function join(path?: string, ...paths: string[]): string;
export function dirname(path: string): string;
export function basename(path: string, suffix?: string): string;
export function resolve(...pathSegments: string[]): string;
