// `@std/fs`, from the npm mirror of Deno's std (1.3.1 is its last release that carries fs).
// @ts-types="./std_fs.d.ts"
export * from "npm:deno-std@1.3.1/fs/ensure_dir.js";
// @ts-types="./std_fs.d.ts"
export * from "npm:deno-std@1.3.1/fs/exists.js";
// @ts-types="./std_fs.d.ts"
export * from "npm:deno-std@1.3.1/fs/walk.js";
// @ts-types="./std_fs.d.ts"
export * from "npm:deno-std@1.3.1/fs/expand_glob.js";
