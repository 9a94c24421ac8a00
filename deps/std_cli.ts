// `@std/cli`, from the npm mirror of Deno's std.
// @ts-types="./std_cli.d.ts"
export * from "npm:deno-std@1.4.0/cli/parse_args.js";
