/**
 * Help on the options of drivers: each key that a driver reads has it, and no other.
 */
import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { DRIVERS } from "../../drivers/names.ts";
import { DIRECT_LVM_KEYS } from "../../drivers/devicemapper/option_keys.ts";
import { parseDriverOptions as btrfsOptions } from "../../drivers/btrfs/options.ts";
import { parseDriverOptions as devicemapperOptions } from "../../drivers/devicemapper/options.ts";
import { parseDriverOptions as overlay2Options } from "../../drivers/overlay2/options.ts";
import { VeneerError } from "../../lib/base/errors.ts";
import { knownOptions, optionsText } from "../../lib/cli/options_topic.ts";
import { TestStore, veneer } from "../support/commands.ts";

const known = await knownOptions();

for (const { name, optionKeys } of DRIVERS) {
  Deno.test(`help options: ${name} has help on each of its keys`, () => {
    const { options } = known.find(({ driver }) => driver === name)!;
    const told = optionKeys.filter((key) => !DIRECT_LVM_KEYS.includes(key));
    assertEquals(options.map(({ key }) => key).sort(), told.toSorted());
    for (const { key, summary } of options) assert(summary !== "", key);
  });
}

const PARSERS: Readonly<Record<string, (options: ReadonlyMap<string, string>) => unknown>> = {
  overlay2: overlay2Options,
  btrfs: btrfsOptions,
  devicemapper: devicemapperOptions,
};

Deno.test("help options: a key that has choices takes them, and nothing else", () => {
  for (const { driver, options } of known) {
    const parse = PARSERS[driver ?? ""];
    for (const { key, choices } of parse === undefined ? [] : options) {
      for (const choice of choices ?? []) parse(new Map([[key, choice]]));
      if (choices) assertThrows(() => parse(new Map([[key, "none of them"]])), VeneerError);
    }
  }
});

Deno.test("help options: the text fits, and a message about an unknown key leads to it", () => {
  for (const width of [80, 40]) {
    for (const line of optionsText(known, width).split("\n")) {
      assert(line.length <= width || !line.trim().includes(" "), line);
    }
  }
  const { stdout } = veneer("help", "options");
  assertMatch(stdout, /^btrfs:\n {2}btrfs\.quota=qgroup\|simple\|off /m);
  using store = new TestStore();
  store.must("create", "base");
  assertStringIncludes(
    store.run("-o", "nothing=1", "ls").stderr,
    `the store has no option nothing; ${store.hint("help", "options")} lists them\n`,
  );
});
