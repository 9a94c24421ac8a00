/** Every link of the documents leads to a file or title that is there; README is one that is read to its end. */
import { assert, assertEquals } from "@std/assert";
import { dirname, join } from "@std/path";

const TOP = new URL("../..", import.meta.url).pathname.replace(/\/$/, "");

/** A page's path below the project. */
const nameOf = (path: string): string => path.slice(TOP.length + 1);

const pages = [TOP, join(TOP, "docs")].flatMap((directory) =>
  [...Deno.readDirSync(directory)].filter(({ name }) => name.endsWith(".md"))
    .map(({ name }) => join(directory, name))
);

/** A page without its code. */
const prose = (path: string): string =>
  Deno.readTextFileSync(path).replaceAll(/^```[^]*?^```$/gm, "");

/** The anchors that a reader's browser is given for titles. */
const anchorsOf = (path: string): string[] =>
  Array.from(
    prose(path).matchAll(/^#+ (.+)$/gm),
    ([, title]) => title.toLowerCase().replaceAll(/[^\w\- ]/g, "").replaceAll(" ", "-"),
  );

/** The links of a page that lead nowhere. */
function broken(path: string): string[] {
  const targets = Array.from(prose(path).matchAll(/\]\(([^)]+)\)/g), ([, target]) => target);
  return targets.filter((target) => {
    if (/^https?:/.test(target)) return false;
    const [file, anchor] = target.split("#");
    const to = file === "" ? path : join(dirname(path), file);
    if (file !== "" && !pages.includes(to)) {
      return anchor !== undefined ||
        ![...Deno.readDirSync(dirname(to))].some(({ name }) => join(dirname(to), name) === to);
    }
    return anchor !== undefined && !anchorsOf(to).includes(anchor);
  }).map((target) => `${nameOf(path)}: ${target}`);
}

Deno.test("docs: every link leads somewhere", () => {
  assert(pages.length > 10, `${pages}`);
  assertEquals(pages.flatMap(broken), []);
});

Deno.test("docs: README has at most 180 lines, and names every page", () => {
  const readme = Deno.readTextFileSync(join(TOP, "README.md"));
  assert(readme.split("\n").length <= 180);
  for (const page of pages.filter((page) => page !== join(TOP, "README.md"))) {
    assert(readme.includes(`(${nameOf(page)})`), page);
  }
});

Deno.test("docs: README's sample is of the session in docs/terminal.md", () => {
  const [, sample] = /^```console\n(# veneer tree\n[^]*?)^```$/m.exec(
    Deno.readTextFileSync(join(TOP, "README.md")),
  )!;
  const session = Deno.readTextFileSync(join(TOP, "docs/terminal.md"));
  for (const part of sample.split(/^(?=# )/m)) assert(session.includes(part), part);
});
