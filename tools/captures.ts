/**
 * Writes `docs/terminal.md`: what a terminal of 80 columns shows of a real session, on an ext4 image of its own.
 *
 *     tools/isolated deno run --allow-all tools/captures.ts     # `make captures`
 *
 * It mounts over `/srv`, in the mount namespace that `tools/isolated` gives it.
 *
 * @module
 */
import { dirname, join } from "@std/path";
import $ from "dax";
import { formatted } from "./docs.ts";
import { mountImage } from "../tests/runner/images.ts";

const TOP = dirname(import.meta.dirname!);
const STORE = "/srv/veneer";
const COLUMNS = 80;

/** Commands that make a store worth looking at; their output is not shown. */
const PREPARATION = `
veneer create base
veneer apply base base.tar
veneer create app --parent base
m=$(veneer mount app); seq 200000 >$m/data; rm $m/etc/motd; veneer umount app
veneer create test --parent app
veneer create other --parent base
veneer mount test
veneer snapshot prepare first
veneer snapshot apply first base.tar
veneer image commit first --name app:1 -m 'the base'
veneer image mount app:1 work
veneer image umount work
veneer image commit work --name app:2 -m 'nothing changed'
`;

/** The commands that are shown, each with a sentence about it. */
const SHOWN: readonly (readonly [command: string, about: string])[] = [
  ["veneer tree", "Layers, their sizes, and where they are mounted."],
  ["veneer ls", "The same as a list."],
  ["veneer df", "The space that layers take, and the layers that could go."],
  ["veneer changes app", "The changes of one layer."],
  ["veneer image ls", "Images."],
  ["veneer image history app:2", "The layers of an image."],
  ["veneer check", "A healthy store."],
  ["veneer check broken", "A damaged one: the directory of a layer's files is gone."],
  ["veneer rm base", "An error names the thing, the reason and the remedy."],
  ["veneer doctor", "The drivers that this machine can run."],
];

/** Runs a shell command in a terminal; returns the screen's text, whatever its status. */
async function capture(directory: string, command: string): Promise<string> {
  const script = `stty cols ${COLUMNS} rows 40; ${command}`;
  const shown = await $`script --quiet --command ${script} /dev/null`.cwd(directory)
    .env({ ...environment(directory), TERM: "xterm", NO_COLOR: "1" }).noThrow().text();
  return shown.replaceAll("\r\n", "\n").trimEnd();
}

/** An environment in which `veneer` is the clone's. */
const environment = (directory: string): Record<string, string> => ({
  PATH: `${join(TOP, "tools")}:${Deno.env.get("PATH")}`,
  VENEER_ROOT: STORE,
  VENEER_DRIVER: "overlay2",
  DENO: Deno.execPath(),
  HOME: directory,
});

/** The bar of an apply, as it stands about halfway. */
async function captureBar(directory: string): Promise<string> {
  const tar = "truncate -s 400M zeros && tar -cf big.tar zeros && veneer create big";
  await $`bash -ec ${tar}`.cwd(directory).env(environment(directory)).quiet();
  const shown = await capture(directory, "veneer apply big big.tar");
  // Each frame begins at the line's start.
  // deno-lint-ignore no-control-regex
  const frames = shown.split(/\x1b\[1A|\r|\n/).map((frame) => frame.replaceAll(/\x1b\[\w+/g, ""));
  const bars = frames.filter((frame) => frame.includes("%"));
  await $`veneer rm big`.env(environment(directory)).quiet();
  return bars[Math.floor(bars.length / 2)] ?? "";
}

/** A root file system in a tar. */
async function makeBase(directory: string): Promise<void> {
  const script =
    `mkdir -p tree/bin tree/etc && cp /bin/busybox tree/bin/sh && echo Welcome >tree/etc/motd
    tar -C tree -cf base.tar .`;
  await $`bash -ec ${script}`.cwd(directory);
}

async function page(directory: string): Promise<string> {
  await makeBase(directory);
  await $`bash -ec ${PREPARATION}`.cwd(directory).env(environment(directory)).quiet();
  const parts = [
    "# What a terminal shows",
    `<!-- Written by \`make captures\` from a real session: change tools/captures.ts instead. -->`,
    `In ${COLUMNS} columns, without colours.`,
    "A bar, while a layer is filled from a tar of 400 MiB:",
    block(await captureBar(directory)),
  ];
  for (const [command, about] of SHOWN) {
    const isBroken = command.endsWith("broken");
    if (isBroken) await $`veneer create broken`.env(environment(directory)).quiet();
    if (isBroken) await Deno.remove(join(STORE, "overlay2/broken/diff"), { recursive: true });
    parts.push(about, block(`# ${command}\n${await capture(directory, command)}`));
    if (isBroken) await $`veneer rm broken`.env(environment(directory)).quiet();
  }
  await $`bash -c ${"veneer umount test; veneer cleanup; veneer snapshot cleanup"}`
    .env(environment(directory)).quiet();
  return `${parts.join("\n\n")}\n`;
}

const block = (text: string): string => `\`\`\`console\n${text}\n\`\`\``;

if (import.meta.main) {
  const directory = await Deno.makeTempDir();
  try {
    using image = mountImage("ext4", directory, 4 * 2 ** 30);
    await $`mount --bind ${image.mountPoint} /srv`;
    try {
      const work = join(directory, "work");
      await Deno.mkdir(work);
      await Deno.writeTextFile(
        join(TOP, "docs/terminal.md"),
        await formatted("terminal.md", await page(work)),
      );
    } finally {
      await $`umount /srv`;
    }
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}
