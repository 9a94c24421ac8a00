/** Remedies: worded by the command line alone, as commands that it takes. */
import { assert, assertEquals } from "@std/assert";
import type { Remedy } from "../../lib/base/remedy.ts";
import { parseCommandLine } from "../../lib/cli/parse.ts";
import { inWords } from "../../lib/cli/remedies.ts";
import { must } from "../support/cases.ts";

/** One remedy of each kind at least; a kind that is left out is an error of types. */
const REMEDIES: { readonly [Kind in Remedy["kind"]]: readonly Extract<Remedy, { kind: Kind }>[] } =
  {
    "list": [{ kind: "list", of: "layers" }, { kind: "list", of: "snapshots" }],
    "list options": [{ kind: "list options" }],
    "make store": [
      { kind: "make store", of: "layers" },
      { kind: "make store", of: "snapshots" },
      { kind: "make store", of: "images" },
    ],
    "umount": [{ kind: "umount", id: "app" }],
    "detach": [{ kind: "detach", id: "app" }],
    "umount foreign": [
      { kind: "umount foreign", ids: ["app"] },
      { kind: "umount foreign", ids: ["app", "base"] },
    ],
    "umount snapshot": [
      { kind: "umount snapshot", key: "it's a key; rm -r /" },
      { kind: "umount snapshot", key: "" },
    ],
    "mount": [{ kind: "mount", id: "app" }],
    "name parent": [{ kind: "name parent" }],
    "create read-write": [{ kind: "create read-write" }],
    "join": [{ kind: "join", of: "layers" }, { kind: "join", of: "snapshots" }],
    "name id maps": [{ kind: "name id maps" }],
    "other root": [{ kind: "other root" }],
    "restore": [{ kind: "restore" }],
    "driver": [
      { kind: "driver", among: ["btrfs"] },
      { kind: "driver", among: ["aufs", "btrfs"] },
    ],
    "examine": [{ kind: "examine" }],
    "other address": [{ kind: "other address" }],
    "other name": [{ kind: "other name" }],
    "docker pool": [{ kind: "docker pool" }],
    "cleanup": [{ kind: "cleanup", of: "layers" }, { kind: "cleanup", of: "snapshots" }],
    "allow expansion": [{ kind: "allow expansion" }],
    "ask engine": [{ kind: "ask engine" }],
  };

Deno.test("remedies: each is one line, and its command names the store in use", () => {
  const store = { root: "/srv/a b", driver: "btrfs" };
  let commands = 0;
  for (const remedy of Object.values(REMEDIES).flat()) {
    const words = inWords(remedy, store);
    assert(!words.includes("\n") && !words.endsWith("."), words);
    const [, command] = /`veneer (.*)`/.exec(words) ?? [];
    if (command === undefined) continue;
    commands++;
    // As a shell reads it, which what a key holds must not end.
    const args = must("sh", "-c", `printf '%s\\0' ${command}`).split("\0").slice(0, -1);
    const { options, operands } = parseCommandLine(args);
    assertEquals([options.value("root"), options.value("driver")], [store.root, store.driver]);
    if (remedy.kind === "umount snapshot") assertEquals(operands, [remedy.key]);
    assert(inWords(remedy, {}).includes(`\`veneer ${args[4]}`), "no option that was not given");
  }
  assertEquals(commands, 17);
});
