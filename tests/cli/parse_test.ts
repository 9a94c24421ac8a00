import { assert, assertEquals, assertFalse, assertMatch, assertThrows } from "@std/assert";
import { DRIVER_NAMES } from "../../drivers/names.ts";
import { helpText } from "../../lib/cli/help.ts";
import { parseCommandLine, subjectNamed } from "../../lib/cli/parse.ts";
import { COMMANDS, GLOBAL_OPTIONS, GROUPS, ownWord } from "../../lib/cli/table.ts";
import { LOADERS } from "../../lib/cli/commands/dispatch.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import { VERSION } from "../../lib/cli/version.ts";

const parse = (...args: string[]) => parseCommandLine(args);

/** The message of a usage error. */
function refusal(...args: string[]): string {
  const error = assertThrows(() => parse(...args), VeneerError);
  assertEquals(error.code, "usage");
  return error.message;
}

Deno.test("global options stand before or after the command", () => {
  for (
    const args of [
      ["--root", "/x", "--json", "ls"],
      ["ls", "--root=/x", "--json"],
      ["--json", "ls", "--root", "/x"],
    ]
  ) {
    const { command, options, operands } = parse(...args);
    assertEquals(command?.name, "ls");
    assertEquals(options.value("root"), "/x");
    assert(options.flag("json"));
    assertFalse(options.flag("quiet"));
    assertEquals(operands, []);
  }
});

Deno.test("an empty value is not a missing one", () => {
  assertEquals(parse("changes", "a", "--parent", "").options.value("parent"), "");
  assertEquals(parse("changes", "a", "--parent=").options.value("parent"), "");
  assertEquals(parse("changes", "a").options.value("parent"), undefined);
  assertEquals(refusal("changes", "a", "--parent"), "option --parent needs a value");
});

Deno.test("what looks like an option is not a value", () => {
  assertMatch(refusal("create", "a", "--parent", "--read-write"), /--parent=--read-write/);
  assertEquals(parse("create", "a", "--mount-label=-x").options.value("mount-label"), "-x");
  assertEquals(parse("diff", "a", "-o", "-").options.value("output"), "-");
});

Deno.test("a flag takes no value, and leaves the next argument alone", () => {
  assertEquals(parse("inspect", "--json", "true").operands, ["true"]);
  assertEquals(refusal("ls", "--json=true"), "option --json takes no value");
});

Deno.test("operands stay text: 0123 is no number", () => {
  assertEquals(parse("rm", "0123", "1e3", "0x10").operands, ["0123", "1e3", "0x10"]);
});

Deno.test("-- ends the options", () => {
  assertEquals(parse("apply", "a", "--", "--json").operands, ["a", "--json"]);
  assertEquals(parse("--", "apply", "a", "-x").operands, ["a", "-x"]);
  assertEquals(parse("apply", "--", "a", "--").operands, ["a", "--"]);
});

Deno.test("repeatable options keep every value in order, others the last", () => {
  const { options } = parse(
    "-o",
    "a=1",
    "create",
    "x",
    "-ob=2",
    "--option=c=3",
    "-o=d=4",
    "--root=/1",
    "--root=/2",
  );
  assertEquals(options.values("option"), ["a=1", "b=2", "c=3", "d=4"]);
  assertEquals(options.value("root"), "/2");
  const { options: storage } = parse(
    "create",
    "x",
    "--storage-opt",
    "size=1G",
    "--storage-opt=inodes=5",
  );
  assertEquals(storage.values("storage-opt"), ["size=1G", "inodes=5"]);
});

Deno.test("-o after diff is its file, before it and as --option the driver's", () => {
  const { options } = parse("-o", "a=1", "diff", "x", "-o", "f.tar", "--option", "b=2");
  assertEquals(options.value("output"), "f.tar");
  assertEquals(options.values("option"), ["a=1", "b=2"]);
});

Deno.test("letters may be joined", () => {
  const { options } = parse("ls", "-qh");
  assert(options.flag("quiet") && options.flag("help"));
  assertEquals(refusal("ls", "-qx"), "`veneer ls` has no option -x; `veneer ls --help` lists them");
});

Deno.test("unknown commands and options are answered with the nearest one", () => {
  assertEquals(refusal("lst"), 'there is no command "lst"; did you mean ls?');
  assertEquals(
    refusal("create", "a", "--parnet", "b"),
    "`veneer create` has no option --parnet; did you mean --parent?",
  );
  assertEquals(refusal("--rot=/x", "ls"), "veneer has no option --rot; did you mean --root?");
  assertEquals(
    refusal("ls", "--parent=x"),
    "`veneer ls` has no option --parent; `veneer ls --help` lists them",
  );
  assertEquals(
    refusal("--driver", "overlay", "ls"),
    'option --driver "overlay": did you mean overlay2?',
  );
  assertMatch(refusal("--log-level=loud", "ls"), /there are error, warn, info, debug/);
  assertMatch(refusal("completions", "tcsh"), /there are bash, zsh, fish/);
  assertMatch(refusal("--__proto__=1", "ls"), /no option --__proto__/);
  assertMatch(refusal("constructor"), /there is no command "constructor"/);
});

Deno.test("a command of a group has two words, and options may stand between them", () => {
  for (
    const args of [
      ["snapshot", "ls", "kind==view", "-q", "--json"],
      ["--json", "snapshot", "--root=/x", "ls", "-q", "kind==view"],
      ["snapshot", "--json", "--", "ls", "kind==view"],
    ]
  ) {
    const { command, options, operands } = parse(...args);
    assertEquals([command?.name, operands], ["snapshot ls", ["kind==view"]]);
    assert(options.flag("json"));
  }
  assertEquals(parse("ls").command?.name, "ls");
  assertEquals(parse("rm", "snapshot", "ls").operands, ["snapshot", "ls"]);
  assertEquals(parse("snapshot", "rm", "ls", "rm").operands, ["ls", "rm"]);
  assertEquals(parse("snapshot", "--help").command?.name, "snapshot");
  assertEquals(parse("snapshot", "rm", "-h").command?.name, "snapshot rm");
});

Deno.test("what is wrong behind a group's word is answered likewise", () => {
  assertEquals(
    refusal("snapshot"),
    "`veneer snapshot` needs a command; `veneer snapshot --help` lists them",
  );
  assertEquals(refusal("snapshto", "ls"), 'there is no command "snapshto"; did you mean snapshot?');
  assertEquals(
    refusal("snapshot", "prepar", "x"),
    'there is no command "snapshot prepar"; did you mean prepare?',
  );
  assertMatch(refusal("snapshot", "zzz"), /; there are prepare, view, apply, diff, /);
  assertEquals(
    refusal("snapshot", "ls", "--quite"),
    "`veneer snapshot ls` has no option --quite; did you mean --quiet?",
  );
  assertMatch(refusal("snapshot", "--quiet", "ls"), /^`veneer snapshot` has no option --quiet; /);
  assertEquals(
    refusal("snapshot", "commit", "name"),
    "`veneer snapshot commit` needs KEY; see `veneer snapshot commit --help`",
  );
  assertMatch(refusal("snapshot", "tree", "x"), /^`veneer snapshot tree` does not take "x"; /);
});

Deno.test("words of other tools are answered with the command that does the same", () => {
  const hints = (...words: string[]) =>
    words.map((word) => refusal(...word.split(" ")).split("; ").at(-1));
  assertEquals(hints("list", "delete", "remove", "unmount", "info", "snap", "run", "import"), [
    "did you mean ls?",
    "did you mean rm?",
    "did you mean rm?",
    "did you mean umount?",
    "did you mean inspect?",
    "did you mean snapshot?",
    "did you mean exec?",
    "did you mean apply?",
  ]);
  assertEquals(hints("snapshot create", "snapshot list", "snapshot delete", "snapshot info"), [
    "did you mean prepare?",
    "did you mean ls?",
    "did you mean rm?",
    "did you mean stat?",
  ]);
  assertEquals(
    refusal("images"),
    'there is no command "images"; did you mean image?',
  );
  assertThrows(
    () => subjectNamed("extra", subjectNamed("create")),
    VeneerError,
    "`veneer create` has no commands below it; see `veneer create --help`",
  );
});

Deno.test("operands are counted", () => {
  assertEquals(refusal("create"), "`veneer create` needs ID; see `veneer create --help`");
  assertEquals(refusal("rm"), "`veneer rm` needs ID; see `veneer rm --help`");
  assertEquals(refusal("ls", "x"), '`veneer ls` does not take "x"; see `veneer ls --help`');
  assertEquals(
    refusal("apply", "a", "b", "c"),
    '`veneer apply` does not take "c"; see `veneer apply --help`',
  );
  assertEquals(parse("rm", "a", "b", "c").operands.length, 3);
  assertEquals(
    refusal(),
    "usage: veneer [OPTION]… COMMAND [ARGUMENT]…; `veneer --help` lists commands",
  );
});

Deno.test("help and the version need no operands", () => {
  assertEquals(parse("snapshot", "commit", "--help").command?.name, "snapshot commit");
  assertEquals(parse("create", "--help").command?.name, "create");
  assertEquals(parse("-h").command, undefined);
  assertEquals(parse("--version", "--json").command, undefined);
});

Deno.test("every command has a module, help and an example", () => {
  assertEquals(Object.keys(LOADERS).sort(), COMMANDS.map(({ name }) => name).sort());
  for (const command of COMMANDS) {
    const help = helpText(command);
    assert(command.examples.length > 0, command.name);
    for (const { name } of [...command.options, ...GLOBAL_OPTIONS]) {
      assertMatch(help, new RegExp(`--${name}\\b`));
    }
    for (const line of help.split("\n")) assert(line.length <= 110, line);
  }
});

Deno.test("help fits a terminal of 80 and of 40 columns, but for words and command lines", () => {
  const subjects = [undefined, ...GROUPS, ...COMMANDS];
  for (const subject of subjects) {
    for (const line of helpText(subject, 80).split("\n")) {
      assert(line.length <= 80 || line.startsWith("  veneer"), line);
    }
    for (const line of helpText(subject, 40).split("\n")) {
      assert(line.length <= 40 || /^ {2}\S/.test(line) || !line.trim().includes(" "), line);
    }
    const words = (width: number) => helpText(subject, width).split(/\s+/).join(" ");
    assertEquals(words(40), words(110), "nothing is lost");
  }
});

Deno.test("help lists a group in one line, and the group's help its commands", () => {
  for (const group of GROUPS) {
    const program = helpText(undefined);
    assertEquals(program.match(new RegExp(`^ +${group.name} … .*$`, "mg"))?.length, 1);
    for (const line of program.split("\n")) assert(line.length <= 110, line);
    const help = helpText(group);
    for (const line of help.split("\n")) assert(line.length <= 110, line);
    for (const command of group.commands) {
      assert(command.name.startsWith(`${group.name} `), command.name);
      assertMatch(help, new RegExp(`^ {2}${ownWord(command)} .*\\S`, "m"));
      assertMatch(helpText(command), new RegExp(`^Usage: veneer ${command.name}\\b`));
    }
  }
});

Deno.test("every example in help can be parsed", () => {
  for (const { examples } of COMMANDS) {
    for (const [line] of examples) {
      // What xargs runs gets its operands then.
      for (const [, words] of line.matchAll(/(?<!\bxargs .*)\bveneer ([^>|)]*)/g)) {
        const args = words.trim().split(/\s+/).map((word) =>
          word === '""' ? "" : word.replaceAll('"', "")
        );
        assert(parse(...args).command, line);
      }
    }
  }
});

Deno.test("the table's drivers are the registry's", () => {
  const driver = GLOBAL_OPTIONS.find(({ name }) => name === "driver");
  assertEquals([...driver?.choices ?? []].sort(), [...DRIVER_NAMES].sort());
});

Deno.test("the version is that of deno.json", () => {
  const manifest = JSON.parse(Deno.readTextFileSync(new URL("../../deno.json", import.meta.url)));
  assertEquals(VERSION, manifest.version);
});
