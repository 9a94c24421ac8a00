/**
 * The Worker of an end of a migration: a thread with its store opened in it.
 *
 * @module
 */
/// <reference no-default-lib="true" />
/// <reference lib="deno.worker" />
import { serveMigration } from "./migrate_lane.ts";

serveMigration(self);
