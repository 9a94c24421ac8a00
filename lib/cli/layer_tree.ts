/**
 * The drawing of a layer graph.
 *
 * Layers often form long chains. If each layer were indented below its parent, they would not fit
 * the page. So an only child is drawn in its parent's column, after `↳`. Only if a layer has
 * several children, each of them starts a branch:
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
  /** The branches to the left of it. */
  readonly prefix: string;
  readonly layer: T;
  /** The reason why it is at the left margin although it is not a base layer. */
  readonly oddity?: string;
}

/** A layer that is not drawn yet, with the branches to the left of it and of its children. */
interface Pending<T> {
  readonly layer: T;
  readonly prefix: string;
  readonly below: string;
  readonly oddity?: string;
}

/**
 * Draws layers; children have the order of `layers`. It has its own stack instead of recursion,
 * since chains may be as long as a store allows. Every layer is drawn once, even if the records of
 * parents are damaged.
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
