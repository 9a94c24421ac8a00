// `@std/text`, from the npm mirror of Deno's std.
// @ts-types="./std_text.d.ts"
export * from "npm:deno-std@1.4.0/text/levenshtein_distance.js";
