/**
 * The place of a record of a layer's content, whose form is that of `graph/content_format.ts`.
 *
 * @module
 */
import { type ConfinedPath, tryUnlink } from "../tree/confined.ts";
import type { Home } from "./home.ts";

/** The directory in Veneer's own records. */
export const CONTENT = "content";

/** The record of a layer's content. */
export const contentRecord = (home: Home, id: string): ConfinedPath => home.own(CONTENT, id);

/**
 * Removes a layer's record: from now on the layer may be changed otherwise. On a read-only file
 * system it stays, and is right.
 */
export function forgetContent(home: Home, id: string): void {
  tryUnlink(contentRecord(home, id));
}
