/**
 * The commands on images as a user runs them.
 */
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { lacksFileSystem, mountPoints, needs } from "../support/cases.ts";
import { refusal, TestStore } from "../support/commands.ts";
import { dir, file } from "../tar/support/tar_builder.ts";
import { chainsOf, image, json, layer, oneImage, tarOf, writeFiles } from "./builder.ts";
import { writeDockerStore } from "./literal_docker_store.ts";

const lacking = lacksFileSystem("overlay");

needs(lacking, "image: a life: import, ls, mount, change, umount, history, exec, rm", () => {
  using store = new TestStore();
  const built = image([layer([dir("etc/"), file("etc/motd", "hello\n")])], {
    history: [{ created_by: "ADD motd" }, { created_by: "CMD sh", empty_layer: true }],
  });
  Deno.writeFileSync(store.path("app.tar"), tarOf(oneImage(built)));
  assertEquals(
    store.must("image", "import", store.path("app.tar")),
    `app:latest ${built.id}\n`,
  );
  assertMatch(store.must("image", "ls"), /^NAME +ID .*\napp:latest +sha256:\S+ +linux\/\w+ +1 /);
  assertEquals(store.must("image", "ls", "-q"), "app:latest\n");
  assertEquals(store.json<{ id: string }>("image", "inspect", "app").id, built.id);
  assertMatch(store.must("image", "inspect", "app"), /Command: +\/bin\/sh\n/);
  const lines = store.must("image", "history", "app").split("\n").map((line) =>
    line.split(/ {2,}/)
  );
  assertEquals(lines.map((cells) => cells.at(-1)!.trim()), [
    "CREATED BY",
    "CMD sh",
    "ADD motd",
    "",
  ]);

  const root = store.must("image", "mount", "app").trimEnd();
  Deno.writeTextFileSync(join(root, "etc/motd"), "changed\n");
  store.must("image", "umount", "app");
  assertEquals(mountPoints(store.root).includes(root), false);
  const again = store.json<{ key: string; path: string }>("image", "mount", "app");
  assertEquals(again.key, "app:latest");
  assertEquals(Deno.readTextFileSync(join(again.path, "etc/motd")), "changed\n");
  store.must("image", "umount", "app:latest");
  const view = store.must("image", "mount", "--read-only", "app", "look").trimEnd();
  assertEquals(Deno.readTextFileSync(join(view, "etc/motd")), "hello\n");
  assertEquals(store.shell(`touch '${view}/x'`).code, 1);
  store.must("image", "umount", "look");
  assertMatch(
    store.refused("already exists", "image", "mount", "--read-only", "app", "app:latest"),
    /^snapshot "app:latest" exists and is not a view of this image; choose another key$/,
  );
  assertEquals(store.run("image", "exec", "app", "--", "missing").code, 127);
  store.must("snapshot", "rm", "look", "app:latest");
  store.must("image", "rm", "app");
  assertEquals([store.must("image", "ls", "-q"), store.json("snapshot", "ls")], ["", []]);
});

needs(
  lacking,
  "image: one that is odd or damaged is listed with a warning, and so are all others",
  () => {
    using store = new TestStore();
    const put = (name: string, more: Record<string, unknown>) => {
      const tar = store.path(`${name}.tar`);
      const built = image([layer([file(name, name)])], more);
      Deno.writeFileSync(tar, tarOf(oneImage(built, `docker.io/library/${name}:latest`)));
      store.must("image", "import", tar);
      return built.id;
    };
    put("plain", {});
    const odd = put("odd", { config: { Cmd: "no list", Entrypoint: 5 }, history: [5], created: 7 });
    const list = store.run("image", "ls", "--json");
    const listed: { names: string[]; command: string[]; created: string | null }[] = JSON.parse(
      list.stdout,
    );
    assertEquals(
      listed.map(({ names, command, created }) => [names, command, created]).sort(),
      [[["odd:latest"], [], null], [["plain:latest"], ["/bin/sh"], "2020-01-01T00:00:00Z"]],
    );
    for (const part of ["config: Cmd ", "config: Entrypoint ", "created ", "history[0] "]) {
      assertStringIncludes(list.stderr, `{"message":"image ${odd}: its config: ${part}`);
    }
    assertEquals(list.code, 0);
    assertMatch(
      store.run("image", "tree").stdout,
      /odd:latest[^]*plain:latest|plain[^]*odd:latest/,
    );
    assertMatch(store.run("image", "inspect", "odd").stdout, /^Names: +odd:latest$/m);
    // A layer whose directory is gone has no size that could be told.
    const layers = join(store.root, "snapshots/overlay2/snapshots");
    for (const { name } of Deno.readDirSync(layers)) {
      Deno.removeSync(join(layers, name), { recursive: true });
    }
    const damaged = store.run("image", "ls");
    assertEquals([damaged.code, damaged.stdout.trim().split("\n").length], [0, 3]);
    assertStringIncludes(damaged.stderr, "warning: image ");
  },
);

needs(lacking, "image: what cannot be done is one line", () => {
  using store = new TestStore();
  Deno.writeFileSync(store.path("app.tar"), tarOf(oneImage(image([layer([])]))));
  store.must("image", "import", store.path("app.tar"));
  assertMatch(
    store.refused("not found", "image", "inspect", "nosuch"),
    /^image "nosuch" does not exist; `veneer .*image ls` lists those that do$/,
  );
  assertMatch(
    refusal("invalid argument", store.shell("head -c 1M /dev/zero | veneer image import -")),
    /^the input is a tar without entries$/,
  );
  assertMatch(
    store.refused("usage", "image", "import", store.path("app.tar"), "--platform", "linux"),
    /^option --platform "linux": write it as OS\/ARCH\[\/VARIANT\], such as linux\/arm64$/,
  );
  store.refused("usage", "image", "import", "a", "--all", "--platform", "linux/arm64");
  assertMatch(
    store.refused("invalid argument", "image", "tag", "app", "Big"),
    /^image name "Big": write it as/,
  );
});

needs(lacking, "image rm: the layers that stay are named, with their user", () => {
  using store = new TestStore();
  const [base, one, two] = ["base", "one", "two"].map((name) => layer([file(name, name)]));
  for (const [name, layers] of [["app", [base, one]], ["other", [base, two]]] as const) {
    const built = image(layers), full = `docker.io/library/${name}:1`;
    store.must("image", "import", writeFiles(store.path(name), oneImage(built, full)));
  }
  const [bottom, top] = chainsOf([base, one]), [, second] = chainsOf([base, two]);
  store.must("snapshot", "prepare", "work", "--parent", top);
  assertEquals(
    store.must("image", "rm", "app:1"),
    `layer ${top} and 1 below it stay for snapshot "work"\n`,
  );
  store.must("snapshot", "rm", "work");
  store.must("image", "tag", "other:1", "second");
  assertEquals(store.json("image", "rm", "second"), { removed: ["second"], kept: [] });
  store.must("image", "import", store.path("app"));
  store.must("image", "tag", "app:1", "third");
  store.must("image", "rm", "app:1");
  assertEquals(
    store.must("image", "rm", "third"),
    `layer ${bottom} stays for snapshot "${second}"\n`,
  );
  assertEquals(store.must("image", "rm", "other:1"), "");
  store.must("image", "import", store.path("app"));
  store.must("image", "import", store.path("other"));
  assertEquals(store.must("image", "rm", "app:1", "other:1"), "", "none stays in the end");
  assertEquals(store.json("snapshot", "ls"), []);
});

needs(lacking, "image: no control character of an image's config reaches a terminal", () => {
  using store = new TestStore();
  const title = "\x1b]0;owned\x07", c1 = "\x9b31m";
  const built = image([layer([file("x", "x")])], {
    created: title,
    variant: title + c1,
    config: { Cmd: [c1, title], Entrypoint: [title] },
    history: [{ created: `${c1}\n`, created_by: title, comment: `two\nlines${c1}` }],
  });
  Deno.writeFileSync(store.path("app.tar"), tarOf(oneImage(built)));
  store.must("image", "import", store.path("app.tar"));
  // deno-lint-ignore no-control-regex
  const controls = /[\x00-\x09\x0b-\x1f\x7f-\x9f]/;
  for (const words of [["ls"], ["inspect", "app"], ["history", "app"]]) {
    for (const how of [[], ["--json"]]) {
      const shown = store.must(...how, "image", ...words);
      assertEquals(controls.exec(shown), null, JSON.stringify(shown));
    }
  }
  assertEquals(store.must("image", "history", "app").trimEnd().split("\n").length, 2);
  assertEquals(store.json<{ created: string }>("image", "inspect", "app").created, title);
});

needs(
  lacking,
  "image export: an output that is full is named, and one that does not block is waited for",
  () => {
    using store = new TestStore();
    const built = image([layer([file("large", "x".repeat(300_000))])]);
    Deno.writeFileSync(store.path("app.tar"), tarOf(oneImage(built)));
    store.must("image", "import", store.path("app.tar"));
    const words = "image export app --compress none";
    assertEquals(
      refusal("limit exceeded", store.run(...words.split(" "), "-o", "/dev/full")),
      "write /dev/full: no space left on device (ENOSPC)",
    );
    store.must(...words.split(" "), "-o", store.path("out.tar"));
    // The mode is the pipe's, for every process that has it.
    const mode = `python3 -c 'import os; os.set_blocking(1, False)'`;
    const slow = store.shell(
      `{ ${mode}; veneer ${words} -o -; } | { sleep 0.3; cat >'${store.path("read.tar")}'; }`,
    );
    assertEquals([slow.code, slow.stderr], [0, ""]);
    assertEquals(
      Deno.readFileSync(store.path("read.tar")),
      Deno.readFileSync(store.path("out.tar")),
    );
  },
);

needs(lacking, "image tree: layers once, with the images on them", () => {
  using store = new TestStore();
  const [base, one, two] = ["base", "one", "two"].map((name) => layer([file(name, name)]));
  for (const [name, layers] of [["app", [base, one]], ["other", [base, two]]] as const) {
    const built = image(layers), full = `docker.io/library/${name}:1`;
    store.must("image", "import", writeFiles(store.path(name), oneImage(built, full)));
  }
  store.must("image", "tag", "other:1", "second");
  const lines = store.must("image", "tree").trimEnd().split("\n");
  const [[bottom]] = [[base, one], [base, two]].map((layers) => chainsOf(layers));
  assertEquals(lines.length, 3);
  assertMatch(lines[0], /^sha256:\w+\S* {2}[\d.]+ [kK]i?B$/);
  assertMatch(lines[1], /^├─ sha256:\w+\S* {2}\S+ \w+ {2}other:1 second:latest$/);
  assertMatch(lines[2], /^└─ sha256:\w+\S* {2}\S+ \w+ {2}app:1$/);
  const nodes = store.json<{ id: string; parent: string }[]>("image", "tree");
  assertEquals(nodes.map(({ id, parent }) => [id === bottom, parent === bottom]), [
    [true, false],
    [false, true],
    [false, true],
  ]);
});

needs(lacking, "image inspect --docker: the digests that Docker remembers are shown", () => {
  using store = new TestStore();
  const docker = store.path("docker"), { id, config } = writeDockerStore(docker, "overlay2");
  const digest = `app@sha256:${"5".repeat(64)}`, evil = "app@\x1b]0;owned\x07";
  const names = { "app:latest": id, [digest]: id, [evil]: id };
  Deno.writeFileSync(
    join(docker, "image/overlay2/repositories.json"),
    json({ Repositories: { app: names } }),
  );
  const from = ["--docker", docker];
  const shown = store.must("image", "inspect", "app", ...from);
  assertMatch(shown, new RegExp(`^Id: +${id}\nNames: +app:latest\n`));
  assertMatch(shown, new RegExp(`\nDigest: +${digest}\n`));
  // deno-lint-ignore no-control-regex
  assertEquals(/[\x00-\x09\x0b-\x1f]/.exec(shown), null);
  assertMatch(shown, /\nCommand: +\/bin\/sh\nLayer 1: +sha256:\w+ 13 B, chain id sha256:\w+\n$/);
  const described = store.json<Record<string, unknown>>("image", "inspect", id, ...from);
  assertEquals(described.digests, [evil, digest].sort());
  assertEquals(described.config, JSON.parse(new TextDecoder().decode(config)));
  assertMatch(store.must("image", "history", "app", ...from), /^CREATED +SIZE +CREATED BY\n/);
  assertMatch(
    refusal("not found", store.run("image", "inspect", "nosuch", ...from)),
    /^image "nosuch" is not in \S+$/,
  );
});

needs(lacking, "image import --docker: a store of several drivers wants one named", () => {
  using store = new TestStore();
  const docker = store.path("docker"), from = ["image", "import", "app", "--docker", docker];
  const { id } = writeDockerStore(docker, "overlay2");
  writeDockerStore(docker, "aufs");
  assertMatch(
    refusal("invalid argument", store.run(...from)),
    /docker has images of several drivers: aufs, overlay2; name the driver to read$/,
  );
  assertEquals(store.must(...from, "--docker-driver", "aufs"), `app:latest ${id}\n`);
  const digits = ["image", "export", "app", "--docker", docker, "--driver", "aufs"];
  assertMatch(store.must(...digits, "-o", store.path("out.tar")), /^$/);
  const commit = ["container", "commit", "box", "--docker", docker, "--docker-driver", "aufs"];
  assertMatch(store.must(...commit), /^sha256:\w+\n$/);
  assertMatch(
    store.refused("usage", "image", "import", "a.tar", "--docker-driver", "aufs"),
    /^--docker-driver is for --docker DIR/,
  );
  assertMatch(
    store.refused("usage", "image", "export", "app", "--docker-pool", "p"),
    /^--docker-pool is for --docker DIR/,
  );
  const pool = ["image", "export", "app", "--docker", docker, "--docker-pool", "p"];
  assertMatch(
    store.refused("invalid argument", ...pool, "--driver", "aufs", "-o", store.path("out")),
    /docker is of aufs, which has no pool$/,
  );
});
