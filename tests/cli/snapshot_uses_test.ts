/** Snapshots that somebody has mounted: by hand, in another namespace, detached, or by a command that was killed. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { dirname } from "@std/path";
import { refusal, shellWords, TestStore } from "../support/commands.ts";
import { lacksFileSystem, mountPoints, must, needs, run } from "../support/cases.ts";

const lacking = lacksFileSystem("overlay");

/** A store with `base`, committed, two active snapshots on it, one on nothing, and a view. */
function sample(): TestStore {
  const store = new TestStore();
  store.must("snapshot", "prepare", "base-key");
  store.must("snapshot", "commit", "base", "base-key");
  for (const key of ["work", "other"]) store.must("snapshot", "prepare", key, "--parent", "base");
  store.must("snapshot", "prepare", "alone");
  store.must("snapshot", "view", "look", "--parent", "base");
  Deno.mkdirSync(store.path("mnt"));
  return store;
}

/** Mounts a snapshot as its `mounts` line says. */
function mountByHand(store: TestStore, key: string): string {
  const target = store.path("mnt");
  must("sh", "-c", store.must("snapshot", "mounts", key, target));
  return target;
}

/** A shell in a mount namespace of its own, which lives until disposed of, after it ran a script. */
async function inNamespace(script: string): Promise<AsyncDisposable & { readonly pid: number }> {
  const child = new Deno.Command("unshare", {
    args: ["--mount", "--propagation", "private", "sh", "-c", `set -e; ${script}; echo; read -r _`],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const reader = child.stdout.getReader();
  const { done } = await reader.read();
  assert(!done, script);
  reader.releaseLock();
  return {
    pid: child.pid,
    async [Symbol.asyncDispose]() {
      await child.stdin.close();
      await child.stdout.cancel();
      await child.status;
    },
  };
}

/** Refuses commit, rm and mount of a key; returns the message, which is the same. */
function refusedAll(store: TestStore, key: string): string {
  const [commit, ...others] = [["commit", "app", key], ["rm", key], ["mount", key]]
    .map((words) => refusal("in use", store.run("snapshot", ...words)));
  for (const other of others) assertEquals(other, commit);
  return commit;
}

needs(lacking, "snapshot uses: one that is mounted by hand is refused with the place", () => {
  using store = sample();
  for (const key of ["work", "alone"]) {
    const target = mountByHand(store, key);
    const message = refusedAll(store, key);
    assertMatch(message, new RegExp(`^snapshot "${key}": layer \\S+ is mounted at ${target} \\(`));
    assertMatch(message, /\(mount namespace \d+, .+ \(pid \d+\)\); `umount \S+\/mnt` first$/);
    must("umount", target);
    store.must("snapshot", "commit", `${key}-done`, key);
  }
});

needs(
  lacking,
  "snapshot uses: the record of a mount that somebody else took down excuses no other",
  () => {
    using store = sample();
    store.must("snapshot", "mount", "other", store.path("mnt"));
    must("umount", store.path("mnt"));
    mountByHand(store, "work"); // The kernel gives it the device number that is free again.
    assertMatch(refusedAll(store, "work"), /is mounted at/);
  },
);

needs(lacking, "snapshot uses: a view is not removed while its own mounts line shows it", () => {
  using store = sample();
  store.must("snapshot", "commit", "second", "work");
  store.must("snapshot", "view", "deep", "--parent", "second");
  for (const key of ["look", "deep"]) {
    const target = mountByHand(store, key);
    assertMatch(
      refusal("in use", store.run("snapshot", "rm", key)),
      new RegExp(`^snapshot "${key}": a view on its parent is mounted at ${target} \\(`),
    );
    store.must("snapshot", "mount", key);
    store.must("snapshot", "umount", key);
    must("umount", target);
    // Another view that Veneer mounted is not this one.
    store.must("snapshot", "view", `${key}-2`, "--parent", key === "look" ? "base" : "second");
    store.must("snapshot", "mount", `${key}-2`, target);
    store.must("snapshot", "rm", key);
    store.must("snapshot", "umount", target);
  }
});

needs(
  lacking,
  "snapshot uses: a mount in another namespace is one, and who lives there is named",
  async () => {
    using store = sample();
    for (const key of ["work", "alone"]) {
      const line = store.must("snapshot", "mounts", key, store.path("mnt"));
      {
        await using other = await inNamespace(line.trimEnd());
        assertEquals(mountPoints(store.path("mnt")), []);
        const message = refusedAll(store, key);
        assertMatch(message, new RegExp(`\\(mount namespace \\d+, \\S+ \\(pid ${other.pid}\\)\\)`));
        assertMatch(
          message,
          new RegExp(`\`nsenter --mount --target ${other.pid} umount \\S+/mnt\` first$`),
        );
      }
      store.must("snapshot", "mount", key);
      store.must("snapshot", "umount", key);
      store.must("snapshot", "rm", key);
    }
  },
);

needs(lacking, "snapshot uses: a mount that is detached and still held is one", async () => {
  using store = sample();
  const target = mountByHand(store, "work");
  const holder = new Deno.Command("sleep", { args: ["600"], cwd: target }).spawn();
  try {
    // Its working directory is what holds the mount.
    while (!Deno.readLinkSync(`/proc/${holder.pid}/cwd`).includes("mnt")) { /* not yet there */ }
    must("umount", "--lazy", target);
    assertMatch(
      refusedAll(store, "work"),
      new RegExp(
        `^snapshot "work": layer \\S+ has a detached mount: sleep \\(pid ${holder.pid}\\) may hold it; end that first$`,
      ),
    );
  } finally {
    holder.kill("SIGKILL");
    await holder.status;
  }
  store.must("snapshot", "commit", "app", "work");
});

needs(
  lacking,
  "snapshot uses: what can be written to is mounted once, and a view as often as asked",
  () => {
    using store = sample();
    const target = store.path("mnt"), second = store.path("second");
    Deno.mkdirSync(second);
    for (const key of ["other", "alone"]) {
      store.must("snapshot", "mount", key, target);
      for (const words of [[], [second]]) {
        assertMatch(
          refusal("in use", store.run("snapshot", "mount", key, ...words)),
          new RegExp(`^snapshot "${key}": layer \\S+ is mounted at ${target} \\(`),
        );
      }
      store.must("snapshot", "umount", target);
      const below = store.must("snapshot", "mount", key).trimEnd();
      assert(refusal("in use", store.run("snapshot", "mount", key, target)).includes(below));
      store.must("snapshot", "umount", key);
    }
    for (const words of [[], [target], [second]]) store.must("snapshot", "mount", "look", ...words);
    for (const word of ["look", target, second]) store.must("snapshot", "umount", word);
    assertEquals(mountPoints(store.root), [], "the store's own mount is given back");
  },
);

needs(
  lacking,
  "snapshot uses: copies of Veneer's mount in another namespace are none",
  async () => {
    using store = sample();
    const target = store.path("mnt");
    for (const [key, ...directory] of [["work"], ["other", target], ["alone", target]]) {
      const path = store.must("snapshot", "mount", key, ...directory).trimEnd();
      await using _other = await inNamespace(`grep -q ' ${path} ' /proc/self/mountinfo`);
      assertMatch(refusal("in use", store.run("snapshot", "commit", "app", key)), /is mounted at/);
      store.must("snapshot", "umount", directory[0] ?? key);
      if (directory.length === 0) {
        assertEquals([...Deno.readDirSync(dirname(path))], [], "the directory is gone");
      }
      store.must("snapshot", "mount", key);
      store.must("snapshot", "umount", key);
      store.must("snapshot", "commit", `${key}-done`, key);
    }
  },
);

/** Records and makes a mount at a directory as a command that is killed before it recorded that it did. */
function mountAndDie(store: TestStore, key: string, target: string, mounts: boolean): void {
  const line = store.must("snapshot", "mounts", key, target);
  const { layer } = store.json<{ layer: string }>("snapshot", "stat", key);
  const module = (path: string) => JSON.stringify(new URL(`../../lib/${path}`, import.meta.url));
  const code = `
    import { Home } from ${module("store/home.ts")};
    import { IDENTITY } from ${module("base/id_maps.ts")};
    import { RunState } from ${module("store/run_state.ts")};
    import { MountRecords } from ${module("snapshots/mount_records.ts")};
    const home = Home.open(${JSON.stringify(store.root)}, "snapshots/overlay2", IDENTITY);
    new MountRecords(new RunState(home)).around(${JSON.stringify(layer)}, ${
    JSON.stringify(target)
  }, () => {
      if (${mounts}) new Deno.Command("sh", { args: ["-c", ${JSON.stringify(line)}] }).outputSync();
      Deno.kill(Deno.pid, "SIGKILL");
    });`;
  const { code: status } = run(
    "sh",
    "-c",
    `${shellWords([Deno.execPath(), "eval", code])}; exit $?`,
  );
  assertEquals(status, 128 + 9);
}

needs(lacking, "snapshot uses: what a killed command mounted is taken down by the next", () => {
  using store = sample();
  const target = store.path("mnt");
  for (const key of ["work", "alone"]) {
    for (const mounts of [true, false]) {
      mountAndDie(store, key, target, mounts);
      assertEquals(mountPoints(target), mounts ? [target] : []);
      store.must("snapshot", "mount", key);
      assertEquals(mountPoints(target), []);
      store.must("snapshot", "umount", key);
    }
    mountAndDie(store, key, target, true);
    store.must("snapshot", "commit", `${key}-done`, key);
    assertEquals(mountPoints(target), []);
  }
  mountAndDie(store, "other", target, true);
  store.must("snapshot", "cleanup");
  assertEquals(mountPoints(target), []);
  // What somebody else mounts in its place stays.
  mountAndDie(store, "other", target, false);
  must("mount", "-t", "tmpfs", "none", target);
  store.must("snapshot", "rm", "other");
  assertEquals(mountPoints(target), [target]);
});

needs(lacking, "snapshot uses: umount of a mount point's bare name says how it is written", () => {
  using store = sample();
  store.must("snapshot", "mount", "work", store.path("mnt"));
  const { code, stderr } = store.shell(`cd "${store.path(".")}" && veneer snapshot umount mnt`);
  assertEquals([code, stderr], [
    3,
    'veneer: snapshot "mnt" does not exist; to unmount the directory, write ./mnt\n',
  ]);
  must("umount", store.path("mnt"));
  assertEquals(
    refusal("not found", store.run("snapshot", "umount", "mnt")),
    `snapshot "mnt" does not exist; ${store.hint("snapshot", "ls")} lists those that do`,
  );
});
