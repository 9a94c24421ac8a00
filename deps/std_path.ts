// `@std/path`, its POSIX half (the program runs on Linux only), from the npm mirror of Deno's std.
// @ts-types="./std_path.d.ts"
export * from "npm:deno-std@1.4.0/path/posix/join.js";
// @ts-types="./std_path.d.ts"
export * from "npm:deno-std@1.4.0/path/posix/dirname.js";
// @ts-types="./std_path.d.ts"
export * from "npm:deno-std@1.4.0/path/posix/basename.js";
// @ts-types="./std_path.d.ts"
export * from "npm:deno-std@1.4.0/path/posix/resolve.js";
