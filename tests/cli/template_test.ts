/**
 * `--format` of lists, and when layers were made.
 */
import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { VeneerError } from "../../lib/base/errors.ts";
import { parseTemplate } from "../../lib/cli/template.ts";
import { TestStore, veneer } from "../support/commands.ts";
import { lacksFileSystem, needs } from "../support/cases.ts";

const lacking = lacksFileSystem("overlay");
const FIELDS = { id: () => "app", labels: () => "a=b" };

Deno.test("template: fields, escapes and all else", () => {
  const line = (template: string) =>
    parseTemplate(template, ["id", "labels"])(FIELDS, (key) => `<${key}>`);
  assertEquals(line("{id}\\t{labels}\\n\\0\\\\t {id}: 100%"), "app\ta=b\n\0\\t app: 100%");
  assertEquals(line("{labels.a.b}"), "<a.b>");
  assertEquals(line(""), "");
});

Deno.test("template: what is no field or escape is refused with the form that is", () => {
  const refused = (template: string, known = ["id", "state"]) =>
    assertThrows(() => parseTemplate(template, known), VeneerError).message;
  assertEquals(
    refused("{{.ID}}"),
    'option --format "{{.ID}}": a field is written {id}',
  );
  assertEquals(
    refused("{stat}"),
    'option --format "{stat}": there is no field {stat}; did you mean state?',
  );
  assertMatch(refused("{labels.a}"), /there is no field \{labels\.a\}/);
  assertMatch(refused("a\\q"), /there is no escape \\q; there are /);
  assertMatch(refused("a\\"), /there is no escape \\; /);
});

needs(lacking, "cli: ls and snapshot ls by a template, and the time of creation", () => {
  const before = Date.now();
  using store = new TestStore();
  store.must("create", "base");
  store.must("create", "app", "--parent", "base");
  assertEquals(
    store.must("ls", "--format", "{id}\\t{parent}\\t{state}\\t{uses}"),
    "app\tbase\tready\t0\nbase\t\tready\t0\n",
  );
  const created = Date.parse(store.must("ls", "--format={created}").split("\n")[0]);
  // Whole seconds, of a clock that ticks.
  assert(before - 2000 <= created && created <= Date.now(), `${created}`);
  const [{ created: inJson }] = store.json<{ created: string }[]>("ls");
  assertEquals(Math.floor(Date.parse(inJson) / 1000), created / 1000);
  assertEquals(store.json<{ created: string }>("inspect", "app").created, inJson);
  assertMatch(
    veneer("--json", "ls", "--format", "{id}").stderr,
    /"give either --format or --json"/,
  );

  store.must("snapshot", "prepare", "work", "--label", "team=blue");
  assertEquals(
    store.must("snapshot", "ls", "--format", "{name} {kind} {labels.team} {labels}"),
    "work active blue team=blue\n",
  );
});
