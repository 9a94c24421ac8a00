import { assertEquals } from "@std/assert";
import { decode } from "../../ffi/cstring.ts";
import { comparePaths, formatChange } from "../../lib/tree/changes.ts";
import { escapeControls, escapePath } from "../../lib/base/printable.ts";

Deno.test("a change is one line, whatever the file's name", () => {
  assertEquals(formatChange({ kind: "A", path: "/etc/hosts" }), "A /etc/hosts");
  assertEquals(formatChange({ kind: "D", path: "/a b/ü" }), "D /a b/ü");
  assertEquals(formatChange({ kind: "C", path: "/x\ny\x1b[31m\\n" }), "C /x\\012y\\033[31m\\134n");
});

Deno.test("control characters are escaped byte by byte, other bytes are kept", () => {
  assertEquals(escapeControls("a\tb\\\x7f\u0085"), "a\\011b\\\\177\\302\\205");
  const latin1 = decode(Uint8Array.of(0x2f, 0xe9, 0x0a));
  assertEquals(escapePath(latin1), "/\udce9\\012");
});

Deno.test("paths are ordered by component: a directory stands right before what it holds", () => {
  const ordered = ["/a", "/a/b", "/a/b/c", "/a/z", "/a.b", "/a.b/c", "/ab", "/b"];
  assertEquals(ordered.toReversed().sort(comparePaths), ordered);
  assertEquals(comparePaths("/a", "/a"), 0);
});
