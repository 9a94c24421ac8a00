/**
 * This program's version; a test holds it against `deno.json`.
 *
 * @module
 */
export const VERSION = "0.1.0";
