/** Mounts as a user meets them on the command line: busy ones, others' ones, and those whose records are lost. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { refusal, TestStore } from "../support/commands.ts";
import { lacksFileSystem, mountPoints, must, needs } from "../support/cases.ts";

const lacking = lacksFileSystem("overlay");

/** A store with a layer `app` on `base`. */
function sample(): TestStore {
  const store = new TestStore("--driver", "overlay2");
  store.must("create", "base");
  store.must("create", "app", "--parent", "base");
  return store;
}

needs(
  lacking,
  "whose: umount of a busy mount names who is in it, and detaches it where told",
  () => {
    using store = sample();
    const path = store.must("mount", "app").trimEnd();
    const { stdout, stderr, code } = store.shell(`
    cd '${path}'; echo $$
    (cd / && veneer umount app) && exit 1
    veneer mount app --read-only && exit 1
    (cd / && veneer ls && veneer umount --lazy app && veneer ls) || exit 1
    (cd / && veneer mount app || veneer rm app) && exit 1
    exit 0
  `);
    assertEquals(code, 0, stderr);
    const [pid, ...listed] = stdout.trimEnd().split("\n");
    assertMatch(listed[1], /^app +base +mounted +1 /);
    assertMatch(listed[4], /^app +base +ready +0 +\S+Z$/);
    const held = "veneer: layer app is in use by a process that holds a detached mount of it; " +
      "end that process first";
    assertEquals(stderr.trimEnd().split("\n"), [
      `veneer: layer app at ${path} is being used by bash (pid ${pid}); end that and unmount again; ` +
      `or detach it by ${store.hint("umount", "--lazy", "app")}`,
      "veneer: layer app is in use writable and was requested read-only; " +
      `${store.hint("umount", "app")} first`,
      held,
      held,
    ]);
    store.must("mount", "app");
    store.must("umount", "app");
  },
);

needs(
  lacking,
  "whose: without /run/veneer a mount is somebody else's, and --force takes it down",
  () => {
    using store = sample();
    // All in a mount namespace of its own, with a /run/veneer that is emptied.
    const script = `
    mount -t tmpfs -o mode=0711 tmpfs /run/veneer
    path=$(veneer mount app) && echo kept >"$path/file" && rm -rf /run/veneer/*
    for command in 'rm app' 'umount app' 'umount --lazy app' 'mount app' 'cleanup'; do
      veneer $command; echo "$?"
    done
    cat "$path/file"; veneer umount --force app; echo "$?"
    path=$(veneer mount app) && cat "$path/file" && veneer umount app; echo "$?"
    # The home on itself: that it was Veneer's own is forgotten, too.
    grep -c ${store.root} /proc/self/mountinfo
  `;
    Deno.writeTextFileSync(store.path("script"), script);
    const { stdout, stderr } = store.shell(
      `export -f veneer; unshare --mount --propagation private bash '${store.path("script")}'`,
    );
    assertEquals(stdout, "5\n5\n5\n5\n0\nkept\n0\nkept\n0\n1\n", stderr);
    const lines = stderr.trimEnd().split("\n");
    assertEquals(lines.length, 5, stderr);
    for (const line of lines.slice(0, 4)) {
      assertMatch(
        line,
        /^veneer: layer app is mounted by somebody else at \S+\/merged \(mount namespace \d+, bash \(pid \d+\)\); /,
      );
      assert(line.endsWith(`; ${store.hint("umount", "--force", "app")} takes it down`), line);
    }
    assertEquals(
      lines[4],
      "veneer: warning: layer app is mounted by another program and left alone; " +
        `${store.hint("umount", "--force", "app")} takes it down`,
    );
  },
);

needs(lacking, "whose: umount takes down nothing that was not mounted", () => {
  using store = sample();
  for (const option of ["--force", "--lazy"]) {
    assertEquals(
      refusal("failed precondition", store.run("umount", option, "app")),
      "layer app is not mounted",
    );
  }
});

needs(lacking, "whose: the disk can be unmounted after the last umount, and after reading", () => {
  using store = sample();
  store.must("create", "other", "--parent", "base");
  store.must("mount", "app");
  assertEquals(mountPoints(store.root).length, 2);
  store.must("umount", "app");
  assertEquals(mountPoints(store.root), []);
  store.must("changes", "app", "--parent", "other");
  assertEquals(mountPoints(store.root), []);
});

needs(
  lacking,
  "whose: the home's mount is given back in the namespace where it was made, and only there",
  () => {
    using store = sample();
    store.must("create", "other", "--parent", "base");
    store.must("cleanup");
    const home = `${store.root}/overlay2`;
    const inOther = (script: string) => {
      Deno.writeTextFileSync(store.path("script"), script);
      return store.shell(`
        export -f veneer; coproc other { unshare --mount --propagation private bash -c '
          echo ready; read -r _; . "$0"' '${store.path("script")}' 2>&1; }
        read -r _ <&"\${other[0]}"
        veneer mount app >/dev/null || exit 1
        echo >&"\${other[1]}"; cat <&"\${other[0]}"
        veneer umount app
      `);
    };
    const count = `grep -c ' ${home} ' /proc/self/mountinfo`;
    // In the other namespace, Veneer makes a mount of its own and takes that down.
    const own = inOther(`${count}; veneer mount other; ${count}; veneer umount other; ${count}`);
    assertEquals(own, {
      ...own,
      code: 0,
      stdout: `0\n${home}/other/merged\n1\n0\n`,
      stderr: "",
    });
    assertEquals(mountPoints(store.root), []);
    // What an administrator mounted there stays, whatever Veneer did in this one.
    const administrators = inOther(`
      mount --bind '${home}' '${home}'; veneer mount other; veneer umount other; veneer cleanup
      ${count}
    `);
    assertEquals(administrators, {
      ...administrators,
      code: 0,
      stdout: `${home}/other/merged\n1\n`,
      stderr: "",
    });
    assertEquals(mountPoints(store.root), []);
  },
);

needs(lacking, "whose: cleanup names who keeps the store's home", () => {
  using store = sample();
  store.must("mount", "app");
  const { stderr, stdout, code } = store.shell(`
    home='${store.root}/overlay2'
    cd "$home"; veneer umount app; veneer cleanup; cd /; veneer cleanup
  `);
  assertEquals(code, 0);
  assertMatch(
    stderr,
    /^veneer: warning: \S+\/overlay2 stays mounted on itself: in use by bash \(pid \d+\)\n$/,
  );
  assertStringIncludes(stdout, `released ${Deno.realPathSync(store.root)}/overlay2`);
});

/** A program that is called dockerd and lives until it is disposed of. */
function daemon(store: TestStore, { redirection = "</dev/null", before = "" } = {}) {
  const program = store.path("dockerd");
  Deno.copyFileSync(must("sh", "-c", "command -v sleep").trim(), program);
  const started = `${before} exec '${program}' 1000 ${redirection}`;
  const shell = before === "" ? "sh" : "unshare --mount --propagation private sh";
  const pid = Number(
    must("sh", "-c", `${shell} -c "$0" >/dev/null 2>&1 & echo $!`, started),
  );
  must("sh", "-c", `until grep -qx dockerd /proc/${pid}/comm; do sleep 0.01; done`);
  return {
    pid,
    [Symbol.dispose]() {
      Deno.kill(pid, "SIGKILL");
      must("tail", `--pid=${pid}`, "-s0.01", "-f", "/dev/null");
      Deno.removeSync(program);
    },
  };
}

/** What a command that changes layers says. */
function saidByCreate(store: TestStore): string {
  const { code, stderr } = store.run("create", "more", "--parent", "base");
  assertEquals(code, 0, stderr);
  store.run("rm", "more");
  return stderr;
}

const runsHere = ({ pid }: { readonly pid: number }) =>
  `veneer: warning: dockerd (pid ${pid}) runs on this store\n`;

needs(
  lacking,
  "whose: a dockerd that runs on the store is told of where layers are changed",
  () => {
    using store = sample();
    using dockerd = daemon(store, { redirection: `<'${store.root}/overlay2/app/link'` });
    assertEquals(saidByCreate(store), runsHere(dockerd));
    store.must("ls");
  },
);

needs(lacking, "whose: a dockerd is known by its database, under whatever path it has that", () => {
  using store = sample();
  const database = "volumes/metadata.db", elsewhere = store.path("elsewhere");
  for (const root of [store.root, elsewhere]) {
    Deno.mkdirSync(`${root}/volumes`, { recursive: true });
    Deno.writeTextFileSync(`${root}/${database}`, "");
  }
  {
    using dockerd = daemon(store, {
      before: `mount --bind '${store.root}' /mnt;`,
      redirection: `</mnt/${database}`,
    });
    assertEquals(saidByCreate(store), runsHere(dockerd));
  }
  // One on another store sees what is mounted here, too.
  store.must("mount", "app");
  must("mount", "--bind", store.path(""), `${store.root}/overlay2/base/diff`);
  using _dockerd = daemon(store, { redirection: `<'${elsewhere}/${database}'` });
  assertEquals(saidByCreate(store), "");
  must("umount", `${store.root}/overlay2/base/diff`);
  store.must("umount", "app");
});

needs(lacking, "whose: a dockerd is known by a layer's mount that Veneer has no record of", () => {
  using store = sample();
  using dockerd = daemon(store);
  const path = store.must("mount", "app").trimEnd();
  assertEquals(saidByCreate(store), "", "Veneer's own");
  store.must("umount", "app");
  assertEquals(saidByCreate(store), "", "nothing is mounted");
  const layers = `${store.root}/overlay2`;
  const options =
    `lowerdir=${layers}/base/diff,upperdir=${layers}/app/diff,workdir=${layers}/app/work`;
  Deno.mkdirSync(path, { recursive: true });
  for (const target of [path, store.path("elsewhere")]) {
    Deno.mkdirSync(target, { recursive: true });
    must("mount", "-t", "overlay", "-o", options, "overlay", target);
    assertEquals(saidByCreate(store), runsHere(dockerd), target);
    must("umount", target);
  }
});

needs(lacking, "whose: a mount has one mode, label and --volatile for all", () => {
  using store = sample();
  const path = store.must("mount", "app", "--volatile");
  assertEquals(store.must("mount", "app", "--volatile"), path);
  for (
    const [option, difference] of [
      ["--read-only", "writable and was requested read-only"],
      ["--mount-label=x", "without a label and was requested with the label x"],
      ["--log-level=warn", "volatile and was requested not volatile"],
    ]
  ) {
    assertEquals(
      refusal("in use", store.run("mount", "app", option)),
      `layer app is in use ${difference}; ${store.hint("umount", "app")} first`,
    );
  }
  store.must("umount", "app");
  assert(mountPoints(store.root).length > 0);
  store.must("umount", "app");
});
