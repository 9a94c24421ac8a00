/**
 * The drawing of a layer graph.
 *
 * Layers mostly stand on each other in long lines, which would run off the page if each were
 * indented below its parent. So an only child stands under its parent in the same column, after
 * `↳`, and only if a layer has several children does each begin a branch:
 *
 * ```text
 * debian
 * ↳ python
 * ├─ app
 * │  ↳ app-run
 * └─ tool
 * ```
 *
 * @module
 */

/** The facts about a layer that the drawing needs. */
export interface TreeLayer {
  readonly id: string;
  /** `""` for none, `undefined` if it is unknown. */
  readonly parent: string | undefined;
}

/** A layer in the drawing. */
export interface TreeLine<T> {
  /** The branches drawn to the left of it. */
  readonly prefix: string;
  readonly layer: T;
  /** The reason why it stands at the left margin although it is not a base layer. */
  readonly oddity?: string;
}

/** A layer yet to be drawn: the branches left of it, and left of its children. */
interface Pending<T> {
  readonly layer: T;
  readonly prefix: string;
  readonly below: string;
  readonly oddity?: string;
}

/**
 * Draws layers, children in the order in which they are given. Keeps its own stack: chains may be
 * as long as a store allows. Every layer is drawn once, even if the records of parents are damaged.
 */
export function* drawTree<T extends TreeLayer>(layers: readonly T[]): Generator<TreeLine<T>> {
  const ids = new Set(layers.map(({ id }) => id));
  const children = Map.groupBy(layers, ({ parent }) => parent);
  const drawn = new Set<T>();

  for (const root of layers) {
    const { parent } = root;
    if (parent !== undefined && ids.has(parent)) continue;
    const oddity = parent === ""
      ? undefined
      : parent === undefined
      ? "unknown parent"
      : `parent ${parent} is missing`;
    yield* branch({ layer: root, prefix: "", below: "", oddity });
  }
  for (const layer of layers) {
    if (drawn.has(layer)) continue;
    yield* branch({ layer, prefix: "", below: "", oddity: `parents form a circle` });
  }

  function* branch(root: Pending<T>): Generator<TreeLine<T>> {
    const stack = [root];
    for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
      const { layer, prefix, below, oddity } = next;
      if (drawn.has(layer)) continue;
      drawn.add(layer);
      yield { prefix, layer, oddity };
      const hanging = children.get(layer.id) ?? [];
      if (hanging.length === 1) {
        stack.push({ layer: hanging[0], prefix: `${below}↳ `, below });
        continue;
      }
      for (const [i, child] of hanging.toReversed().entries()) {
        const isLast = i === 0;
        stack.push({
          layer: child,
          prefix: below + (isLast ? "└─ " : "├─ "),
          below: below + (isLast ? "   " : "│  "),
        });
      }
    }
  }
}
