/**
 * Options and messages of migrations.
 *
 * @module
 */
import { AUTO, COMMON_OPTIONS, DRIVERS } from "../../drivers/names.ts";

/**
 * The `-o` options that a driver takes of those given: its own, and those of every driver. Both ends
 * work at once, each on a thread of its own, so that they need no helpers unless they are asked for.
 */
export function optionsFor(driver: string, options: readonly string[]): string[] {
  const keyOf = (option: string) => option.split("=", 1)[0].toLowerCase();
  const others = DRIVERS.filter(({ name }) => name !== driver).flatMap((d) => d.optionKeys);
  const own = [
    ...COMMON_OPTIONS.map(({ key }) => key),
    ...DRIVERS.find(({ name }) => name === driver)?.optionKeys ?? [],
  ];
  const taken = options.filter((option) =>
    driver === AUTO || own.includes(keyOf(option)) || !others.includes(keyOf(option))
  );
  return options.some((option) => keyOf(option) === WORKERS) ? taken : [...taken, `${WORKERS}=0`];
}

/** The key of the number of helpers. */
const WORKERS = "workers";

/** `1 layer`, `2 layers`. */
export const counted = (count: number, things: string) =>
  `${count} ${count === 1 ? things.slice(0, -1) : things}`;
