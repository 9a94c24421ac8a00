import { assert, assertEquals, assertMatch } from "@std/assert";
import { formatProgress, formatTime, ProgressBar } from "../../lib/cli/progress.ts";
import { plain } from "../../lib/cli/style.ts";

const MiB = 1024 ** 2;

Deno.test("with a known total: a bar, percentage, bytes, rate and time left", () => {
  const line = formatProgress({
    label: "apply base",
    bytes: 50 * MiB,
    total: 200 * MiB,
    seconds: 2,
  }, 100);
  assertEquals(
    line,
    "apply base ━━━━━━━━━━──────────────────────────────  25% 50.0 MiB of 200 MiB  25.0 MiB/s  0:06 left",
  );
});

Deno.test("without one: bytes and rate", () => {
  assertEquals(
    formatProgress({ label: "diff app", bytes: 3 * MiB, seconds: 1.5 }, 80),
    "diff app ⠋ 3.00 MiB  2.00 MiB/s",
  );
});

Deno.test("the first frame has no rate; a total that was exceeded is full", () => {
  assertMatch(
    formatProgress({ label: "x", bytes: 0, total: 10, seconds: 0 }, 80),
    / 0% {6}0 B of 10 B {7}0 B\/s$/,
  );
  assertMatch(formatProgress({ label: "x", bytes: 20, total: 10, seconds: 1 }, 80), /━ 100%/);
});

Deno.test("the label is cut before the bytes and the part that is done", () => {
  const label = `apply ${"0123456789abcdef".repeat(4)}`;
  const shown = (columns: number, total?: number) =>
    formatProgress({ label, bytes: 50 * MiB, total, seconds: 2 }, columns);
  assertEquals(shown(40), "apply 0123456789… ⠋ 50.0 MiB  25.0 MiB/s");
  assertEquals(shown(40, 200 * MiB), "apply 0123456789abcdef0…  25%  0:06 left");
  assertEquals(shown(24), "apply 012345… ⠋ 50.0 MiB");
  assertMatch(
    shown(79, 200 * MiB),
    /^apply 0.*… {2}25% 50\.0 MiB of 200 MiB {2}25\.0 MiB\/s {2}0:06 left$/,
  );
});

Deno.test("frames of one transfer are equally wide, whatever its size and rate", () => {
  const widths = [0, 900, 4.001 * MiB, 20.16 * MiB, 999 * MiB].map((bytes) =>
    formatProgress({ label: "x", bytes, seconds: 1 }, 80).length
  );
  assertEquals(new Set(widths).size, 1, String(widths));
});

Deno.test("a frame is never wider than the terminal", () => {
  for (let columns = 0; columns < 120; columns++) {
    for (const total of [undefined, 200 * MiB]) {
      const frame = formatProgress(
        { label: "apply something", bytes: 50 * MiB, total, seconds: 2 },
        columns,
      );
      assert(frame.length <= columns, `${frame.length} in ${columns}`);
    }
  }
});

Deno.test("times", () => {
  assertEquals([0, 0.2, 59.5, 61, 3600, 7384].map(formatTime), [
    "0:00",
    "0:01",
    "1:00",
    "1:01",
    "1:00:00",
    "2:03:04",
  ]);
});

Deno.test("a bar is drawn at most ten times a second, over itself, and taken away", () => {
  let clock = 0;
  const written: string[] = [];
  const screen = {
    write: (text: string) => void written.push(text),
    columns: () => 80,
    style: plain,
  };
  {
    using bar = new ProgressBar("apply a", undefined, screen, () => clock);
    for (; clock < 1000; clock += 10) bar.update(clock);
  }
  const frames = written.slice(0, -1);
  assertEquals(frames.length, 10);
  assertEquals(frames[0], "apply a ⠋      0 B       0 B/s\n");
  const overItself = "\x1b[1A\r\x1b[Kapply a ";
  for (const frame of frames.slice(1)) assert(frame.startsWith(overItself) && frame.endsWith("\n"));
  assertEquals(written.at(-1), "\x1b[1A\r\x1b[K");
});

Deno.test("a bar that was never drawn takes nothing away", () => {
  const written: string[] = [];
  new ProgressBar("x", 1, {
    write: (text) => void written.push(text),
    columns: () => 80,
    style: plain,
  })[
    Symbol.dispose
  ]();
  assertEquals(written, [""]);
});

Deno.test("a stream that gives nothing is said to be stalled, until it goes on", () => {
  let time = 0, shown = "";
  const screen = { write: (text: string) => void (shown = text), columns: () => 80, style: plain };
  using bar = new ProgressBar("apply base", undefined, screen, () => time);
  const at = (seconds: number, bytes: number) => {
    time = seconds * 1000;
    bar.update(bytes);
    return shown.split("\x1b[K").at(-1)!.trimEnd();
  };
  assertMatch(at(1, 4 * MiB), /^apply base . 4\.00 MiB {2}4\.00 MiB\/s$/);
  assertMatch(at(2.5, 4 * MiB), /MiB\/s$/, "not yet");
  assertMatch(at(8, 4 * MiB), /^apply base . 4\.00 MiB {2}nothing came for 0:07$/);
  screen.columns = () => 40;
  assertMatch(at(8.5, 4 * MiB), /^apply base . 4\.00 MiB {2}stalled$/);
  assertMatch(at(9, 6 * MiB), /^apply base . 6\.00 MiB .*\/s$/);
});
