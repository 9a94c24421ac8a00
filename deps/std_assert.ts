// `@std/assert`, from the npm mirror of Deno's std.
// @ts-types="./std_assert.d.ts"
export * from "npm:deno-std@1.4.0/assert/mod.js";
