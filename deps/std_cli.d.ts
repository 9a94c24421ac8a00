/** Types of the functions of `@std/cli` that this project uses. */

/** What `parseArgs` is told of the options it may meet; names are without dashes. */
export interface ParseOptions<
  Boolean extends string = never,
  Text extends string = never,
  Collect extends string = never,
> {
  boolean?: readonly Boolean[];
  string?: readonly Text[];
  /** Of the above, those that may be given more than once. */
  collect?: readonly Collect[];
  alias?: Partial<Record<string, string | readonly string[]>>;
  default?: Partial<Record<Boolean | Text | Collect, unknown>>;
  negatable?: readonly string[];
  /** Stop at the first argument that is not an option. */
  stopEarly?: boolean;
  /** Put what follows `--` into the result's `--`. */
  "--"?: boolean;
  /** Called for every option not named above; `false` keeps it out of the result. */
  unknown?: (arg: string, key?: string, value?: unknown) => unknown;
}

export type Parsed<
  Boolean extends string,
  Text extends string,
  Collect extends string,
> =
  & { [K in Boolean]: boolean }
  & { [K in Exclude<Text, Collect>]?: string }
  & { [K in Collect]: string[] }
  & { _: (string | number)[]; "--"?: string[] };

export function parseArgs<
  const Boolean extends string = never,
  const Text extends string = never,
  const Collect extends string = never,
>(
  args: readonly string[],
  options?: ParseOptions<Boolean, Text, Collect>,
): Parsed<Boolean, Text, Collect>;
