/**
 * Reading send streams, from literal bytes and as the kernel's documentation writes them, and replaying them
 * on names. The streams of a live kernel are in `drivers/btrfs_diff_test.ts`.
 */
import { assertEquals, assertThrows } from "@std/assert";
import { ReplayedTree } from "../../../drivers/btrfs/replayed_tree.ts";
import {
  readSendStream,
  type SendCommand,
  SendStreamError,
} from "../../../drivers/btrfs/send_stream.ts";
import type { Suspect } from "../../../drivers/btrfs/suspects.ts";
import { encode } from "../../../ffi/cstring.ts";
import { memfd, pwriteAll, withFd } from "../../../ffi/files.ts";

const le = (size: number, value: number) =>
  Array.from({ length: size }, (_, i) => Math.floor(value / 256 ** i) & 255);

const attribute = (
  type: number,
  value: number[],
) => [...le(2, type), ...le(2, value.length), ...value];
const path = (text: string, type = 15) => attribute(type, [...encode(text)]);

const command = (number: number, ...attributes: number[][]) => {
  const body = attributes.flat();
  return [...le(4, body.length), ...le(2, number), 1, 2, 3, 4, ...body];
};

const header = (version = 1) => [...encode("btrfs-stream\0"), ...le(4, version)];
const END = command(21);

function read(...parts: number[][]): SendCommand[] {
  return withFd(memfd("stream"), (fd) => {
    pwriteAll(fd, Uint8Array.from(parts.flat()), 0n);
    return [...readSendStream(fd)];
  });
}

/** The commands of a stream without their empty attributes. */
const short = (commands: SendCommand[]) =>
  commands.map(({ name, path, to, link }) => [name, path, to, link].filter((x) => x !== undefined));

Deno.test("send stream: every command of versions 1 to 3 by its number", () => {
  const names =
    ("subvol snapshot mkfile mkdir mknod mkfifo mksock symlink rename link unlink rmdir set_xattr " +
      "remove_xattr write clone truncate chmod chown utimes - update_extent fallocate fileattr encoded_write " +
      "enable_verity").split(" ");
  for (const [i, name] of names.entries()) {
    if (name === "-") continue;
    const version = i < 22 ? 1 : i < 25 ? 2 : 3;
    assertEquals(read(header(version), command(i + 1, path("p")), END).map((c) => c.name), [name]);
  }
});

Deno.test("send stream: the paths of a command", () => {
  const ino = attribute(3, le(8, 257));
  const commands = read(
    header(),
    command(3, path("o257-8-0"), ino),
    command(9, path("o257-8-0"), path("dir/\u{1f600}", 16)),
    command(10, path("dir/hard"), path("dir/\u{1f600}", 17)),
    command(8, path("soft"), ino, path("/anywhere", 17)),
    command(13, path("x"), attribute(13, [...encode("user.a")]), attribute(14, [0, 255])),
    command(20, path(""), attribute(10, le(12, 0))),
    END,
    [1, 2, 3], // What follows is not the stream's.
  );
  assertEquals(short(commands), [
    ["mkfile", "o257-8-0"],
    ["rename", "o257-8-0", "dir/\u{1f600}"],
    ["link", "dir/hard", "dir/\u{1f600}"],
    ["symlink", "soft", "/anywhere"],
    ["set_xattr", "x"],
    ["utimes", ""],
  ]);
});

Deno.test("send stream: names that are not UTF-8 stay what they are", () => {
  const [{ path }] = read(header(), command(11, attribute(15, [0x66, 0xff, 0x2f, 0xc3])), END);
  assertEquals(encode(path), Uint8Array.of(0x66, 0xff, 0x2f, 0xc3));
});

Deno.test("send stream: data of version 2 has no length of its own", () => {
  const data = [...le(2, 19), ...Array.from({ length: 100_000 }, (_, i) => i & 255)];
  const commands = read(
    header(2),
    command(15, path("f"), attribute(18, le(8, 0)), data),
    command(11, path("g")),
    END,
  );
  assertEquals(short(commands), [["write", "f"], ["unlink", "g"]]);
});

Deno.test("send stream: many commands, longer than what is read at once", () => {
  const count = 20_000;
  const utimes = Array.from({ length: count }, (_, i) => command(20, path(`directory/file-${i}`)));
  const commands = read(header(), utimes.flat(), END);
  assertEquals(commands.length, count);
  assertEquals(commands.at(-1)?.path, `directory/file-${count - 1}`);
});

const BAD: Record<string, number[][]> = {
  "nothing": [],
  "another magic": [[...encode("btrfs-streak\0"), ...le(4, 1)], END],
  "version 0": [header(0), END],
  "version 4": [header(4), END],
  "no end": [header(), command(11, path("a"))],
  "a header cut short": [header().slice(0, 15)],
  "a command cut short": [header(), command(11, path("a")).slice(0, 12)],
  "an unknown command": [header(), command(27, path("a")), END],
  "a command of 4 GiB": [header(), [...le(4, 0xffff_ffff), ...le(2, 3), 0, 0, 0, 0]],
  "an attribute longer than its command": [header(), command(11, [15, 0, 9, 0, 97]), END],
  "an attribute cut short": [header(), command(11, [15, 0, 1]), END],
};

for (const [name, parts] of Object.entries(BAD)) {
  Deno.test(`send stream: ${name} is refused`, () => {
    assertThrows(() => read(...parts), SendStreamError);
  });
}

/** Replays commands; each suspect's path with what is known of it. */
function suspects(commands: SendCommand[], links: Record<string, string[]> = {}): string[] {
  const tree = new ReplayedTree();
  for (const command of commands) tree.apply(command);
  const found: string[] = [];
  const visit = (suspect: Suspect, path: string) => {
    if (suspect.suspected) {
      const marks = [!suspect.stayed && "other", suspect.rewritten && "data"].filter(Boolean);
      found.push([path, ...marks].join(" "));
    }
    for (const [name, below] of suspect.below) visit(below, `${path}/${name}`);
  };
  visit(tree.suspects((path) => links[path] ?? []).root, "");
  return found.sort();
}

const c = (name: SendCommand["name"], path: string, to?: string): SendCommand =>
  name === "link" ? { name, path, link: to } : { name, path, to };

Deno.test("replay: a new file under its temporary name", () => {
  assertEquals(
    suspects([
      c("mkfile", "o257-8-0"),
      c("rename", "o257-8-0", "a/new"),
      c("update_extent", "a/new"),
      c("chmod", "a/new"),
      c("utimes", "a"),
    ]),
    ["/a", "/a/new other data"],
  );
});

Deno.test("replay: what is named below a moved directory is where it comes to be", () => {
  assertEquals(
    suspects([
      c("rename", "d", "o300-5-0"),
      c("truncate", "o300-5-0/e/f"),
      c("mkdir", "o301-8-0"),
      c("rename", "o301-8-0", "d"),
      c("rename", "o300-5-0", "d/inner"),
    ]),
    ["/d other", "/d/inner other", "/d/inner/e/f other data"],
  );
});

Deno.test("replay: moved there and back is in its place", () => {
  assertEquals(
    suspects([
      c("rename", "d", "o300-5-0"),
      c("chmod", "o300-5-0/f"),
      c("rename", "o300-5-0", "d"),
    ]),
    ["/d", "/d/f"],
  );
});

Deno.test("replay: what left a place is suspected there", () => {
  assertEquals(
    suspects([c("rename", "d/a", "b"), c("unlink", "d/c"), c("rmdir", "d")]),
    ["/b other", "/d", "/d/a", "/d/c"],
  );
});

Deno.test("replay: all names of a file that has several", () => {
  const links = { "/a": ["/a", "/far/b"], "/new": ["/a", "/far/b", "/new"] };
  assertEquals(suspects([c("update_extent", "a")], links), ["/a data", "/far/b data"]);
  assertEquals(suspects([c("link", "new", "a")], links), ["/a", "/far/b", "/new other"]);
});

for (
  const [name, commands] of Object.entries({
    "a name in a new directory": [c("mkdir", "new"), c("chmod", "new/f")],
    "a name that is gone": [c("unlink", "f"), c("chmod", "f")],
    "a name below one that is gone": [c("rmdir", "d"), c("unlink", "d/f")],
    "the root's own name": [c("rename", "", "x")],
  })
) {
  Deno.test(`replay: ${name} is no stream of this tree`, () => {
    assertThrows(() => suspects(commands), SendStreamError);
  });
}
