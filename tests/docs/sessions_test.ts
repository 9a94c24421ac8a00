/** Each session and script of the documents, typed on a machine that has what it needs. */
import { assertEquals } from "@std/assert";
import { lacksFileSystem, lacksProgram, needs } from "../support/cases.ts";
import { storeDir } from "../support/store_dir.ts";
import { blocks } from "./blocks.ts";
import { isAnswered, isElsewhere, planOf, sessionsOf, whole } from "./plans.ts";
import { Worlds } from "./worlds.ts";

/** A line without what differs each time: sizes, ages, times, names that are drawn, columns' widths. */
const shape = (line: string) =>
  line.replaceAll(/[\d.]+ ([KMGT]i)?B\b/g, "SIZE")
    .replaceAll(/\b\d+ (s|min|h|d)\b/g, "AGE").replaceAll(/\b[A-Z2-7]{26}\b/g, "LINK")
    .replaceAll(/-[0-9a-f]{8}\b/g, "-HEX").replaceAll(/\b[a-z2-7]{8}\b/g, "NAME").replaceAll(
      /\d+/g,
      "0",
    ).replaceAll(/\s+/g, " ").trim();

needs(
  lacksFileSystem("overlay") ?? lacksProgram("busybox"),
  "docs: every session can be typed",
  () => {
    using dir = storeDir();
    const worlds = new Worlds(dir.path);
    const failed: string[] = [], told: string[] = [], shown: string[] = [];
    for (const block of blocks) {
      if (isElsewhere(block)) continue;
      for (const typed of sessionsOf(block)) {
        const plan = planOf(typed), { world = "layers", before = "", status = 0 } = plan;
        const lines = [before, ...typed.map(whole)];
        const { code, stdout, stderr } = worlds.type(world, lines.join("\n"));
        if (code !== status || stderr !== "") {
          failed.push(`${block.page}: ${typed.join("; ")}: ${code}: ${stderr}`);
        } else if (block.answered.length > 0 && isAnswered(block, plan)) {
          told.push(...stdout.trimEnd().split("\n").map(shape));
          shown.push(...block.answered.map(shape));
        }
      }
    }
    assertEquals(failed, []);
    for (const [i, line] of shown.entries()) {
      // Of a line that is too long for a page, its beginning is shown.
      if (line.endsWith("…") && told[i].startsWith(line.slice(0, -1))) told[i] = line;
    }
    assertEquals(told, shown);
  },
);
