/**
 * SELinux labels as mount options.
 *
 * @module
 */
import { VeneerError } from "../../lib/base/errors.ts";
import { requireSELinux } from "../../lib/mount/selinux.ts";

/**
 * Checks that a label can be written in mount options.
 *
 * @throws {VeneerError} `invalid argument`
 */
export function checkLabel(label: string): void {
  // deno-lint-ignore no-control-regex
  if (!/^[^\u0000-\u001f"\\\u007f]+$/.test(label)) {
    throw new VeneerError(
      "invalid argument",
      `mount label ${JSON.stringify(label)}: it must have no quote, backslash or control character`,
    );
  }
}

/**
 * The same, and checks that mounts on this machine can have labels.
 *
 * @throws {VeneerError} `invalid argument`, and `not supported` if SELinux is off
 */
export function checkNewLabel(id: string, label: string): void {
  checkLabel(label);
  requireSELinux(id, label);
}

/** `context="…"`: in quotes, because a label may contain commas (mount(8)). */
export const contextOption = (label: string): string => `context="${label}"`;
