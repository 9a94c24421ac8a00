/**
 * Writes the program as plain JavaScript modules: main.js, a module for what each command needs, the workers.
 *
 *     tools/bundle.ts DIRECTORY [run]
 *
 * `deno compile` of these, in place of the sources, makes a binary that starts in the runtime's own time: there are a
 * few modules to load, not a hundred, and no npm package for which the runtime sets its resolver up. The runtime that
 * runs this also bundles.
 *
 * They are minified, as a tenth of a command's time went into reading white space and long names. The stack of an error
 * then has short names; the source maps beside the modules, which are not in the binary, tell the long ones. Statements
 * stay as they are: the minifier puts a value in place of the variable that is used once, also if `using` declares it,
 * and a lock of that kind would never be freed.
 *
 * With `run`, the modules are for tests: with the server that runs commands, and for `deno run`, which reads all modules
 * that it sees imported before it starts the first: what a command may load later is hidden from it, and saves it 5 of
 * 40 ms. `deno compile` has to see them.
 */
import { expandGlobSync, walkSync } from "@std/fs";
import { basename, dirname, resolve } from "@std/path";
import $ from "dax";
import { stop, transform } from "esbuild";

/** The project's directory. */
const TOP = dirname(import.meta.dirname!);

/** The modules that run in Workers, relative to the project. */
function workers(): string[] {
  return Array.from(
    expandGlobSync("{drivers,lib}/**/*_worker.ts", { root: TOP }),
    ({ path }) => path.slice(TOP.length + 1),
  ).sort();
}

/** The program in a server, for cases. */
const SERVER = "tests/support/program_server.ts";

/** The modules at the top of the bundle. */
function topModules(bundle: string): string[] {
  const files = walkSync(bundle, { maxDepth: 1, includeDirs: false, match: [/\.js$/] });
  return Array.from(files, ({ path }) => path);
}

/** Hides from the loader, which looks for words in quotes, the modules that are loaded on demand. */
function hideImports(bundle: string): void {
  for (const path of topModules(bundle)) {
    const text = Deno.readTextFileSync(path);
    const hidden = text.replaceAll(/\bimport\("(\.\/[^"]+)"\)/g, 'import("" + "$1")');
    if (hidden !== text) Deno.writeTextFileSync(path, hidden);
  }
}

/**
 * Rewrites how a Worker is started: it is named relative to the module that does, which the bundle has moved.
 *
 * @returns whether any module of the bundle starts it
 */
function redirect(worker: string, bundle: string): boolean {
  const from = `new URL("./${basename(worker)}"`;
  const to = `new URL("./${worker.replace(/\.ts$/, ".js")}"`;
  let isStarted = false;
  for (const path of topModules(bundle)) {
    const text = Deno.readTextFileSync(path);
    if (!text.includes(from)) continue;
    isStarted = true;
    Deno.writeTextFileSync(path, text.replaceAll(from, to));
  }
  return isStarted;
}

/** How many variables are declared by `using`, whose end frees what they hold. */
function countUsing(text: string): number {
  return text.match(/\busing [\w$]+ ?=/g)?.length ?? 0;
}

/**
 * Takes white space and long names out of all modules, and writes their source maps.
 *
 * @throws {Error} if a module would free less than before
 */
async function minify(bundle: string): Promise<void> {
  for (const { path } of [...walkSync(bundle, { includeDirs: false, match: [/\.js$/] })]) {
    const text = Deno.readTextFileSync(path);
    const { code, map } = await transform(text, {
      format: "esm",
      minifyIdentifiers: true,
      minifyWhitespace: true,
      sourcefile: basename(path),
      sourcemap: "external",
      target: "esnext",
    });
    if (countUsing(code) !== countUsing(text)) {
      throw new Error(`bundle: ${path}: a \`using\` is lost`);
    }
    Deno.writeTextFileSync(path, code);
    Deno.writeTextFileSync(`${path}.map`, map);
  }
  await stop();
}

if (import.meta.main) {
  const out = resolve(Deno.args[0]);
  await Deno.remove(out, { recursive: true }).catch(() => {});
  const modules = workers();
  const isRun = Deno.args[1] === "run";
  const options = ["--quiet", "--platform", "deno", "--code-splitting", "--outdir", out];
  if (!isRun) options.push("--sourcemap=inline");
  const programs = isRun ? ["main.ts", SERVER] : ["main.ts"];
  await $`${Deno.execPath()} bundle ${options} ${programs} ${modules}`.cwd(TOP);
  const idle = modules.filter((worker) => !redirect(worker, out));
  if (idle.length > 0) {
    console.error(`bundle: nothing starts ${idle.join(", ")}`);
    Deno.exit(1);
  }
  if (isRun) hideImports(out);
  else await minify(out);
}
