/**
 * The rule for owners of a store's directories: a user who can write to one can put links, device
 * nodes and records into it, which root would then use.
 *
 * @module
 */
import { S_IWGRP, S_IWOTH } from "../../ffi/names.ts";
import { fstat } from "../../ffi/stat.ts";
import { fgetxattr } from "../../ffi/xattr.ts";
import { VeneerError } from "../base/errors.ts";
import type { Remedy } from "../base/remedy.ts";
import { IDENTITY, type IdMaps } from "../base/id_maps.ts";

/**
 * Entries for further users and groups (acl(5)); the mode's group bits then are what these have at
 * most.
 */
const ACL = "system.posix_acl_access";

/**
 * Refuses an open directory that other users can write to. Allowed are root and the root of the id
 * maps, who owns a store of Docker's under `userns-remap`. A sticky bit does not help, because new
 * entries can still be created.
 *
 * @throws {VeneerError} `incompatible` with the reason and the command that mends it
 */
export function requireTrustedOwner(
  directory: number,
  path: string,
  { uids, gids }: IdMaps = IDENTITY,
): void {
  const { uid, gid, mode } = fstat(directory);
  if (uid !== 0 && uid !== uids.root) {
    const remedy: Remedy | undefined = uids.isIdentity ? { kind: "name id maps" } : undefined;
    throw refused(path, `belongs to user ${uid}`, `chown 0:${gids.root} ${quoted(path)}`, remedy);
  }
  if ((mode & S_IWOTH) !== 0) {
    throw refused(path, "can be written to by everyone", `chmod go-w ${quoted(path)}`);
  }
  if ((mode & S_IWGRP) === 0) return;
  if (gid !== 0 && gid !== gids.root) {
    throw refused(path, `can be written to by group ${gid}`, `chmod g-w ${quoted(path)}`);
  }
  if (hasAcl(directory)) {
    throw refused(path, "has an access list that lets others write", `setfacl -b ${quoted(path)}`);
  }
}

function hasAcl(directory: number): boolean {
  return fgetxattr(directory, ACL) !== undefined;
}

function refused(path: string, fault: string, command: string, remedy?: Remedy): VeneerError {
  return new VeneerError(
    "incompatible",
    `${path} ${fault}, who could make Veneer work on files elsewhere; look through it, then \`${command}\``,
    { remedy },
  );
}

/** A path as a shell takes it. */
function quoted(path: string): string {
  return /^[\w./:@%+,-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`;
}
