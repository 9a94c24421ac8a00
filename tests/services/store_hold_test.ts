/**
 * The store of a service: while the service runs, commands can read it, and only the service
 * changes it.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "@std/path";
import { PROGRAM, refusal, veneer } from "../support/commands.ts";
import { lacksFileSystem, must, needs, unmountBelow } from "../support/cases.ts";
import { holdToChange } from "../../lib/store/service_hold.ts";
import { commit, make, ofKey } from "./snapshots_client.ts";
import { Process, stateOf, TestService } from "./service_support.ts";

const lacking = lacksFileSystem("overlay");

/** The commands that change a store, with valid operands. */
const CHANGING: readonly (readonly string[])[] = [
  ["prepare", "new"],
  ["view", "new"],
  ["commit", "new", "active"],
  ["label", "active", "a=1"],
  ["mount", "active"],
  ["rm", "active"],
  ["cleanup"],
];

needs(
  lacking,
  "service's store: commands read it while the service runs, and change nothing",
  async () => {
    await using service = await TestService.start();
    using client = await service.connect();
    await client.call("Prepare", make("a"));
    await client.call("Commit", commit("base", "a"));
    await client.call("Prepare", make("active", "base", { k: "v" }));
    const store = ["--root", service.root, "--service", "veneer"];
    const snapshot = (...words: string[]) =>
      veneer("snapshot", words[0], ...store, ...words.slice(1));
    const read = (...words: string[]) => {
      const { code, stdout, stderr } = snapshot(...words);
      assertEquals([code, stderr], [0, ""], words.join(" "));
      return stdout;
    };
    assertEquals(read("ls", "-q"), "active\nbase\n");
    assertMatch(read("stat", "active"), /Parent: +base\n[^]*k=v/);
    assertMatch(read("mounts", "active"), /^TYPE[^]*overlay/);
    assertMatch(read("tree"), /base[^]*active/);
    assertMatch(read("usage", "base"), /base +0/);
    assertMatch(
      refusal("not found", snapshot("stat", "missing")),
      /`veneer --root \S+ snapshot ls --service veneer` lists those that do$/,
    );
    for (const words of CHANGING) {
      const message = refusal("in use", snapshot(...words));
      assertMatch(message, /^a service holds the store at .*\(.*\(pid \d+\)\)/, words.join(" "));
      assertMatch(message, /; have its engine make the change, or end the service first$/);
      // The same by the path of the store.
      const root = join(service.root, "services/veneer");
      refusal("in use", veneer("--root", root, "--driver", "overlay2", "snapshot", ...words));
    }
    assertEquals(read("ls", "-q"), "active\nbase\n");
    assertEquals(await service.process.end(), 0);
    assertEquals(snapshot("rm", "active").code, 0, "afterwards it is the administrator's");
    assertEquals(read("ls", "-q"), "base\n");
    refusal("not found", veneer("snapshot", "ls", "--root", service.root, "--service", "other"));
    refusal("usage", veneer("snapshot", "ls", "--root", service.root, "--service", "../veneer"));
    assert(
      !Array.from(Deno.readDirSync(join(service.root, "services")), ({ name }) => name)
        .includes("other"),
    );
  },
);

needs(
  lacking,
  "service's store: a reading command leaves deletions to the service",
  async () => {
    await using service = await TestService.start();
    using client = await service.connect();
    await client.call("Prepare", make("a"));
    const [{ name }] = Deno.readDirSync(join(service.home, "snapshots"));
    const place = join(service.home, "snapshots", name);
    // A layer that is a mount point cannot be deleted, and every process that tries reports that.
    must("mount", "--bind", place, place);
    await client.call("Remove", ofKey("a"));
    const ls = () => veneer("snapshot", "ls", "-q", "--root", service.root, "--service", "veneer");
    const { code, stderr } = ls();
    assertEquals([code, stderr], [0, ""]);
    await service.process.end();
    assertMatch(ls().stderr, /was not deleted/);
    unmountBelow(place);
  },
);

needs(
  lacking,
  "service's store: a second service is refused, and the service waits for a command",
  async () => {
    await using service = await TestService.start();
    const words = ["--root", service.root, "--driver", "overlay2", "serve", "containerd"];
    const address = join(service.directory.path, "other.sock");
    const timed = (run: () => void) => {
      const began = performance.now();
      run();
      return performance.now() - began;
    };
    const refused = () => {
      const message = refusal("in use", veneer(...words, "--address", address));
      assertMatch(message, /^the store at .* is in use \(.*\(pid \d+\)\)/);
    };
    // At once: not after the five seconds for commands. A busy machine may need them for the start.
    for (let tries = 1;; tries++) {
      const start = timed(() => refusal("usage", veneer("serve"))), all = timed(refused);
      if (all - start < 4000) break;
      assert(tries < 5, `it took ${all} ms, a start ${start} ms`);
    }
    await service.process.end();
    const state = stateOf(service);
    const command = holdToChange(state, "");
    const other = new Process([...PROGRAM, ...words, "--address", address]);
    await new Promise((resolve) => setTimeout(resolve, 1000));
    assert(!other.log.includes("serving"), other.log);
    command[Symbol.dispose]();
    await other.said(/serving/);
    assertEquals(await other.end(), 0);
  },
);
