/**
 * The chart of measured ratios, `docs/results.svg`: a bar for each figure of `bench/results.md` that has an aim.
 *
 * @module
 */
import * as Plot from "@observablehq/plot";
import { DOMParser } from "linkedom";
import { isFigure, parseResults } from "../../bench/results.ts";

/** Pixels of the chart, of a bar with its gap, and of the words on the left. */
const WIDTH = 1000, BAR = 22, WORDS = 420;

/** A longer bar ends here: it says "more", and the number beside it how much. */
const LONGEST = 2;

const OURS = "#3b6ea5", LINE = "#a33b3b";

/** Draws it; `results` is the file's text. */
export function resultsChart(results: string): string {
  const bars = parseResults(results).flatMap(({ title, rows }) =>
    rows.filter((row) => row.aim !== "" && row.name.startsWith("veneer") && isFigure(row))
      .map(({ what, name, against, ratio }) => ({
        label: `${title}: ${what}, ${name}`,
        ratio: Math.min(ratio, LONGEST),
        text: `${ratio.toFixed(2)} of ${against}`,
      }))
  );
  const document = new DOMParser().parseFromString("<html></html>", "text/html");
  const svg = Plot.plot({
    document,
    width: WIDTH,
    height: bars.length * BAR + 60,
    marginLeft: WORDS,
    marginRight: 180,
    x: { domain: [0, LONGEST], label: "time, as a share of the other one's" },
    y: { label: null, domain: bars.map(({ label }) => label) },
    marks: [
      Plot.barX(bars, { x: "ratio", y: "label", fill: OURS }),
      Plot.text(bars, { x: "ratio", y: "label", text: "text", textAnchor: "start", dx: 4 }),
      Plot.ruleX([1], { stroke: LINE }),
    ],
  });
  svg.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  svg.setAttribute("style", "background: white; color: black");
  return `${svg.outerHTML}\n`;
}
