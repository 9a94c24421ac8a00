/**
 * The graph of layers in the languages of drawing programs: dot (Graphviz) and Mermaid.
 *
 * @module
 */
import { escapePath } from "../base/printable.ts";
import type { TreeLayer } from "./layer_tree.ts";

/** The formats of the command table. */
export type GraphFormat = "dot" | "mermaid";

/** A layer with the lines below its id in the drawing. */
export interface GraphNode extends TreeLayer {
  readonly notes: readonly string[];
}

/** The syntax of a language. */
interface Language {
  readonly first: string;
  readonly last: readonly string[];
  node(name: string, lines: readonly string[]): string;
  edge(parent: string, child: string): string;
}

const LANGUAGES: Readonly<Record<GraphFormat, Language>> = {
  // The grammar: <https://graphviz.org/doc/info/lang.html>.
  dot: {
    first: "digraph layers {\n  node [shape=box];",
    last: ["}"],
    node: (name, lines) => {
      const label = lines.map((line) => line.replaceAll(/["\\]/g, "\\$&")).join("\\n");
      return `  ${name} [label="${label}"];`;
    },
    edge: (parent, child) => `  ${parent} -> ${child};`,
  },
  // Entities: <https://mermaid.js.org/syntax/flowchart.html>.
  mermaid: {
    first: "flowchart TD",
    last: [],
    node: (name, lines) => {
      const entity = (character: string) => `#${character.codePointAt(0)};`;
      const label = lines.map((line) => line.replaceAll(/["#&<>`\\*_]/g, entity)).join("<br/>");
      return `  ${name}["${label}"]`;
    },
    edge: (parent, child) => `  ${parent} --> ${child}`,
  },
};

/**
 * The lines of a graph, with an arrow from each parent to its child. Nodes are named by numbers,
 * since ids may be any text. A missing parent has no node.
 */
export function* graphLines(format: GraphFormat, nodes: readonly GraphNode[]): Generator<string> {
  const { first, last, node, edge } = LANGUAGES[format];
  const numbers = new Map(nodes.map(({ id }, i) => [id, `n${i}`]));
  yield first;
  for (const [i, { id, notes }] of nodes.entries()) {
    yield node(`n${i}`, [id, ...notes].map(escapePath));
  }
  for (const [i, { parent }] of nodes.entries()) {
    const above = parent ? numbers.get(parent) : undefined;
    if (above !== undefined) yield edge(above, `n${i}`);
  }
  yield* last;
}
