/**
 * Completion scripts, in the shells they are for.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { COMMANDS, FIRST_WORDS, GLOBAL_OPTIONS, ownWord } from "../../lib/cli/table.ts";
import { PROGRAM, shellWords, TestStore, veneer } from "../support/commands.ts";
import { lacksFileSystem, lacksProgram, must, needs } from "../support/cases.ts";

const firstWords = FIRST_WORDS.map(ownWord);

/** What bash offers for a command line, of which the last word is being completed. */
function complete(store: TestStore | undefined, ...words: string[]): string[] {
  const script = `
    source <(veneer completions bash)
    COMP_WORDS=(${shellWords(words)}) COMP_CWORD=${words.length - 1}
    _veneer
    printf '%s\\n' "\${COMPREPLY[@]}"`;
  const program = store ?? new TestStore();
  const { code, stdout, stderr } = program.shell(script);
  if (!store) program[Symbol.dispose]();
  assertEquals({ code, stderr }, { code: 0, stderr: "" });
  return stdout.split("\n").filter(Boolean).sort();
}

needs(lacksProgram("bash"), "completions: bash offers commands, options and choices", () => {
  using store = new TestStore();
  assertEquals(complete(store, "veneer", ""), firstWords.toSorted());
  assertEquals(complete(store, "veneer", "m"), ["migrate", "mount"]);
  assertEquals(complete(store, "veneer", "--root", "/x", "diff"), ["diff", "diffsize"]);
  assertEquals(complete(store, "veneer", "--lo"), ["--log-level"]);
  assertEquals(complete(store, "veneer", "create", "--read"), ["--read-write"]);
  assertEquals(
    complete(store, "veneer", "ls", "--"),
    ["--quiet", "--no-trunc", "--format", ...GLOBAL_OPTIONS.map(({ name }) => `--${name}`)].sort(),
  );
  assertEquals(complete(store, "veneer", "--driver", "o"), ["overlay2"]);
  assertEquals(complete(store, "veneer", "--driver", "=", "b"), ["btrfs"], "bash splits at =");
  assertEquals(complete(store, "veneer", "--driver", "="), [
    "aufs",
    "auto",
    "btrfs",
    "devicemapper",
    "overlay2",
  ]);
  assertEquals(complete(store, "veneer", "completions", ""), ["bash", "fish", "zsh"]);
  assertEquals(complete(store, "veneer", "help", "ap"), ["apply"]);
  assertEquals(complete(store, "veneer", "help", "op"), ["options"]);
});

needs(
  lacksProgram("bash"),
  "completions: bash offers keys of -o, of --storage-opt and filters",
  () => {
    using store = new TestStore();
    const of = (...words: string[]) => complete(store, "veneer", ...words);
    const quotas = ["off", "qgroup", "simple"];
    assertEquals(of("-o", "btrfs.q"), quotas.map((choice) => `btrfs.quota=${choice}`));
    assertEquals(of("-o", "btrfs.quota", "="), quotas);
    assertEquals(of("--option", "=", "overlay2.s"), ["overlay2.size="]);
    assertEquals(of("diff", "x", "-o", "btrfs.q"), [], "there it is a file");
    assertEquals(of("create", "x", "--storage-opt", ""), ["inodes=", "size="]);
    assertEquals(of("snapshot", "ls", "ki"), [
      "kind==active",
      "kind==committed",
      "kind==view",
    ]);
    assertEquals(of("snapshot", "ls", "kind", "==", "v"), ["view"]);
  },
);

needs(
  lacksProgram("bash") ?? lacksProgram("script"),
  "completions: bash takes a choice for no directory, and a key for no whole word",
  () => {
    using store = new TestStore();
    Deno.mkdirSync(store.path("btrfs"));
    Deno.writeTextFileSync(store.path("script"), veneer("completions", "bash").stdout);
    Deno.writeTextFileSync(
      store.path("rc"),
      `source ./script; veneer() { printf '<%s>' "$@"; echo; }; PS1=`,
    );
    const lines = ["--driver=b\t", "--driver b\t", "-o overlay2.s\t1G", "--root ./bt\t"];
    Deno.writeTextFileSync(
      store.path("typed"),
      [...lines.map((line) => `veneer ${line}\n`), "exit\n"].join(""),
    );
    const typed = `cd '${store.path("")}' && script -qec 'bash --rcfile rc -i' /dev/null <typed`;
    const shown = must("timeout", "300", "sh", "-c", typed);
    assertEquals(shown.match(/<.*>/g), [
      "<--driver=btrfs>",
      "<--driver><btrfs>",
      "<-o><overlay2.size=1G>",
      "<--root><./btrfs/>",
    ]);
  },
);

needs(
  lacksFileSystem("overlay") ?? lacksProgram("bash"),
  "completions: bash offers layers and files",
  () => {
    using store = new TestStore();
    for (const id of ["base", "app", "app2"]) store.must("create", id);
    const { root } = store;
    assertEquals(complete(store, "veneer", "mount", ""), ["app", "app2", "base"]);
    assertEquals(complete(store, "veneer", "rm", "base", "ap"), ["app", "app2"]);
    assertEquals(complete(store, "veneer", "rm", "app", ""), ["app2", "base"], "not app again");
    assertEquals(complete(store, "veneer", "create", "x", "--parent", "b"), ["base"]);
    assertEquals(complete(store, "veneer", "changes", "--parent", "=", "b"), ["base"]);
    assertEquals(complete(store, "veneer", "create", ""), [], "a new id is nobody's");
    assertEquals(complete(store, "veneer", "ls", ""), []);
    const tar = store.tar("t.tar", { "f": "" });
    const files = [tar, `${tar}.tree`];
    assertEquals(complete(store, "veneer", "apply", "base", tar.slice(0, -3)), files);
    assertEquals(complete(store, "veneer", "diff", "base", "-o", tar.slice(0, -1)), files);
    assertEquals(complete(store, "veneer", "--root", root.slice(0, -1)), [root]);
  },
);

needs(lacksFileSystem("overlay"), "completions: bash asks the store that the line names", () => {
  using one = new TestStore();
  using other = new TestStore();
  other.must("create", "elsewhere");
  // The later --root wins, as it does for the program.
  assertEquals(complete(one, "veneer", "--root", other.root, "mount", "e"), ["elsewhere"]);
  assertEquals(complete(one, "veneer", "--root", "=", other.root, "mount", "e"), ["elsewhere"]);
  assertEquals(complete(one, "veneer", "mount", "e"), []);
});

needs(lacksProgram("bash"), "completions: bash knows the commands of a group", () => {
  using store = new TestStore();
  const commands = COMMANDS.filter(({ name }) => name.startsWith("snapshot ")).map(ownWord).sort();
  assertEquals(complete(store, "veneer", "snap"), ["snapshot"]);
  assertEquals(complete(store, "veneer", "snapshot", ""), commands);
  assertEquals(complete(store, "veneer", "--root", "/x", "snapshot", "--json", "mo"), [
    "mount",
    "mounts",
  ]);
  assertEquals(complete(store, "veneer", "snapshot", "prepare", "--tar"), ["--target"]);
  assertEquals(complete(store, "veneer", "snapshot", "ls", "--read"), []);
  assertEquals(complete(store, "veneer", "help", "snap"), ["snapshot"]);
  assertEquals(complete(store, "veneer", "help", "snapshot", "lab"), ["label"]);
  assertEquals(complete(store, "veneer", "snapshot", "prepare", "x", "-t", "/us"), ["/usr"]);
});

needs(
  lacksFileSystem("overlay") ?? lacksProgram("bash"),
  "completions: bash offers keys of snapshots, whatever is in them",
  () => {
    using store = snapshots();
    const of = (...words: string[]) => complete(store, "veneer", "snapshot", ...words);
    assertEquals(of("rm", "p"), ["plain"]);
    assertEquals(of("commit", "x", "pl"), ["plain"]);
    assertEquals(of("prepare", "x", "--parent", "pl"), ["plain"]);
    assertEquals(of("prepare", "x", "--parent", "=", "pl"), ["plain"], "bash splits at =");
    assertEquals(of("prepare", "pl"), [], "a new key is nobody's");
    assertEquals(of("rm", "plain", "p"), []);
    assertEquals(of("rm", "a\\ b", "a"), ["a\\ b/c"]);
    assertEquals(of("rm", "a\\ b/c", "a"), []);
    assertEquals(of("rm", "a\\ b"), ["a\\ b/c"], "quoted as the shell wants it");
    assertEquals(of("rm", "'a b"), ["a b/c"], "an open quote is closed behind it");
    assertEquals(of("rm", "two"), ["$'two\\nlines'"]);
    assertEquals(of("rm", "$'two"), ["$'two\\nlines'"]);
    // What stands before a colon is on the line already.
    assertEquals(of("rm", "sha256", ":", "0"), ["01ab"]);
    assertEquals(of("rm", "sha256", ":"), ["01ab", "\\$\\(touch\\ x\\)"]);
    assertEquals(of("rm", "plain", "sha256", ":", "01a"), ["01ab"]);
    assertEquals(complete(store, "veneer", "rm", "p"), [], "no layers are called so");
  },
);

/** A store of snapshots with plain and odd keys. */
function snapshots(): TestStore {
  const store = new TestStore();
  for (const key of ["plain", "a b/c", "two\nlines", "sha256:01ab", "sha256:$(touch x)"]) {
    store.must("snapshot", "prepare", key);
  }
  return store;
}

Deno.test("completions: each shell's script speaks of every command and option", () => {
  for (const shell of ["bash", "zsh", "fish"]) {
    const { code, stdout } = veneer("completions", shell);
    assertEquals(code, 0);
    for (const command of COMMANDS) {
      assertMatch(stdout, new RegExp(`\\b${ownWord(command)}\\b`));
      for (const option of command.options) {
        assert(stdout.includes(option.name), `${shell}: ${command.name} --${option.name}`);
      }
    }
  }
});

for (const shell of ["bash", "zsh", "fish"]) {
  needs(lacksProgram(shell), `completions: ${shell} accepts its script`, () => {
    const file = Deno.makeTempFileSync();
    try {
      Deno.writeTextFileSync(file, veneer("completions", shell).stdout);
      assertEquals(must(shell, "-n", file), "");
    } finally {
      Deno.removeSync(file);
    }
  });
}

needs(
  lacksFileSystem("overlay") ?? lacksProgram("fish"),
  "completions: fish offers commands, options, choices and layers",
  () => {
    using store = new TestStore();
    for (const id of ["base", "app"]) store.must("create", id);
    const script = store.path("veneer.fish"), bin = installed(store);
    Deno.writeTextFileSync(script, veneer("completions", "fish").stdout);
    const described = (line: string) =>
      must(
        "env",
        `PATH=${bin}`,
        "fish",
        "--no-config",
        "-c",
        `source ${script}; complete -C '${line}'`,
      )
        .split("\n").filter(Boolean).sort();
    const offered = (line: string) => described(line).map((line) => line.split("\t")[0]);
    assertEquals(offered("veneer mo"), ["mount"]);
    assertEquals(offered("veneer ls --qu"), ["--quiet"]);
    assertEquals(offered("veneer --driver over"), ["overlay2"]);
    assertEquals(offered("veneer completions "), ["bash", "fish", "zsh"]);
    assertEquals(offered(`veneer --root ${store.root} mount `), ["app", "base"]);
    assertEquals(offered(`veneer --root=${store.root} create x --parent b`), ["base"]);
    assertEquals(offered(`veneer --root=${store.root} rm app `), ["base"]);
    assertEquals(described(`veneer --root=${store.root} mount b`), ["base\tlayer"]);
    assertEquals(described("veneer --log-level w"), ["warn"], "not the option's text");
    assertEquals(offered("veneer -o btrfs.d"), ["btrfs.device="]);
    assertEquals(offered("veneer create x --storage-opt s"), ["size="]);
    assertEquals(offered("veneer snapshot ls kind==v"), ["kind==view"]);
    assertEquals(offered("veneer help op"), ["options"]);

    using odd = snapshots();
    const snapshot = `veneer --root ${odd.root} snapshot`;
    assertEquals(offered(`${snapshot} mo`), ["mount", "mounts"]);
    assertEquals(offered(`${snapshot} rm p`), ["plain"]);
    assertEquals(offered(`${snapshot} rm sha256:0`), ["sha256:01ab"]);
    assertEquals(offered(`${snapshot} prepare x --parent a`), ["a b/c"]);
    assertEquals(offered(`veneer --root ${odd.root} rm `), [], "these are no layers");
    assertEquals(offered(`veneer snapshot ls --qu`), ["--quiet"]);
    assertEquals(offered(`veneer help snapsh`), ["snapshot"]);
  },
);

needs(
  lacksFileSystem("overlay") ?? lacksProgram("zsh"),
  "completions: zsh offers commands, options, choices and layers",
  () => {
    using store = new TestStore();
    for (const id of ["base", "app"]) store.must("create", id);
    const script = store.path("_veneer"), bin = installed(store);
    Deno.writeTextFileSync(script, veneer("completions", "zsh").stdout);
    const lines: [line: string, completed: string][] = [
      ["veneer mo", "veneer mount "],
      ["veneer ls --qu", "veneer ls --quiet "],
      ["veneer --driver over", "veneer --driver overlay2 "],
      ["veneer completions f", "veneer completions fish "],
      ["veneer diff x --outp", "veneer diff x --output="],
      ["veneer -o btrfs.d", "veneer -o btrfs.device="],
      ["veneer create x --storage-opt s", "veneer create x --storage-opt size="],
      ["veneer snapshot ls kind==v", "veneer snapshot ls kind==view "],
      ["veneer help op", "veneer help options "],
      [`veneer --root ${store.root} rm base `, `veneer --root ${store.root} rm base app `],
      [`veneer --root ${store.root} mount b`, `veneer --root ${store.root} mount base `],
      [`veneer rm --root=${store.root} app b`, `veneer rm --root=${store.root} app base `],
      [
        `veneer --root ${store.root} create x --parent b`,
        `veneer --root ${store.root} create x --parent base `,
      ],
    ];
    using odd = snapshots();
    const snapshot = `veneer --root ${odd.root} snapshot`;
    lines.push(
      ["veneer snapsh", "veneer snapshot "],
      ["veneer snapshot prep", "veneer snapshot prepare "],
      ["veneer snapshot prepare x --tar", "veneer snapshot prepare x --target="],
      [`${snapshot} rm p`, `${snapshot} rm plain `],
      [`${snapshot} rm sha256:0`, `${snapshot} rm sha256:01ab `],
      [`${snapshot} prepare x --parent a`, `${snapshot} prepare x --parent a\\ b/c `],
    );
    // An interactive shell in a terminal of zsh's own making: Tab completes, Ctrl-G shows the line.
    const driver = `
      zmodload zsh/zpty
      zpty z "PS1= TERM=dumb zsh -f -i"
      zpty -w z 'stty -echo; unsetopt beep; autoload -U compinit; compinit -u -D
        source ${script} 2>/dev/null; compdef _veneer veneer
        show() { print -r -- "<$BUFFER>" }; zle -N show; bindkey "^G" show; print RE""ADY'
      zpty -r z out '*READY*'
      for line; do
        zpty -w -n z $line$'\\t\\a'
        zpty -r z out '*<*>*'
        print -r -- "\${\${out##*<}%%>*}|"
        zpty -w -n z $'\\x15'
      done`;
    const shown = must(
      "env",
      `PATH=${bin}`,
      "timeout",
      "300",
      "zsh",
      "-f",
      "-c",
      driver,
      "zsh",
      ...lines.map(([line]) => line),
    );
    assertEquals(shown.trimEnd().split("\n"), lines.map(([, completed]) => `${completed}|`));
  },
);

/** Makes the program a command named `veneer`; the search path on which it is found. */
function installed(store: TestStore): string {
  const bin = store.path("bin");
  Deno.mkdirSync(bin);
  Deno.writeTextFileSync(`${bin}/veneer`, `#!/bin/sh\nexec ${shellWords(PROGRAM)} "$@"\n`, {
    mode: 0o755,
  });
  return `${bin}:${Deno.env.get("PATH")}`;
}
