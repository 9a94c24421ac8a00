/**
 * A driver is added in one place: a program that differs from this one in ten lines of `drivers/names.ts` has one
 * more driver, wherever it speaks of drivers.
 */
import { assertEquals, assertMatch } from "@std/assert";
import { dirname, join } from "@std/path";
import { lacksFileSystem, needs, run, tempDir } from "../support/cases.ts";

const TOP = dirname(dirname(import.meta.dirname!));

/** A driver that does as overlay2 does, in a home of its own. */
const PLAIN = `const plain: DriverDefinition = {
  name: "plain",
  summary: "plain and simple",
  layerDirectory: "plain/overlay2",
  optionKeys: ["plain.shade"],
  load: async () => {
    const { open, ...code } = await import("./overlay2/driver.ts");
    return { ...code, open: (c) => open({ ...c, root: \`\${c.root}/plain\`, options: new Map() }) };
  },
};
`;

/** This program with that driver, in a directory: all else are links to what is here. */
function programWith(driver: string, directory: string): string[] {
  const link = (path: string) => Deno.symlinkSync(join(TOP, path), join(directory, path));
  ["main.ts", "deno.json", "deno.lock", "deps", "ffi", "lib"].forEach(link);
  Deno.mkdirSync(join(directory, "drivers"));
  for (const { name } of Deno.readDirSync(join(TOP, "drivers"))) {
    if (name !== "names.ts") link(join("drivers", name));
  }
  const names = Deno.readTextFileSync(join(TOP, "drivers/names.ts"));
  const list = "export const DRIVERS: readonly DriverDefinition[] = [";
  Deno.writeTextFileSync(
    join(directory, "drivers/names.ts"),
    names.replace(list, `${driver}${list}plain, `),
  );
  return [Deno.execPath(), "run", "--allow-all", "--quiet", "--frozen", join(directory, "main.ts")];
}

needs(lacksFileSystem("overlay"), "drivers: one is added in one place", () => {
  using dir = tempDir();
  const [program, ...first] = programWith(PLAIN, dir.path);
  const root = join(dir.path, "store");
  const veneer = (...args: string[]) => run(program, ...first, "--root", root, ...args);
  const refusal = (...args: string[]) => veneer(...args).stderr;

  const help = veneer("--help").stdout;
  assertMatch(help, /--driver NAME .*\bauto \(the default\), plain, overlay2, /);
  assertMatch(help, /^Drivers:\n {2}plain +plain and simple$/m);
  assertMatch(veneer("completions", "bash").stdout, /auto\\nplain\\noverlay2/);
  assertMatch(refusal("--driver", "plane", "ls"), /"plane": did you mean plain\?/);
  assertMatch(veneer("doctor").stdout, /^plain\n {2}✓ the kernel has overlay$/m);

  const options = ["--driver", "plain", "-o", "plain.shade=dark"];
  assertEquals(veneer(...options, "create", "base").stderr, "");
  assertEquals(veneer("ls", "--quiet").stdout, "base\n", "auto finds its store");
  assertMatch(refusal("-o", "plain.shape=round", "ls"), /no option plain\.shape; .*plain\.shade/);
  assertMatch(refusal("--driver", "overlay2", "ls"), /has a store of plain, not of overlay2/);
});
