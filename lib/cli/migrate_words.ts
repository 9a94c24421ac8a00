/**
 * Options and messages of migrations.
 *
 * @module
 */
import { COMMON_OPTIONS, DRIVERS } from "../../drivers/names.ts";

/** The `-o` options for a driver: its own, and those of all drivers. */
export function optionsFor(driver: string, options: readonly string[]): string[] {
  const common = COMMON_OPTIONS.map(({ key }) => key);
  const others = DRIVERS.filter(({ name }) => name !== driver).flatMap(({ optionKeys }) =>
    optionKeys
  );
  return options.filter((option) => {
    const key = option.split("=", 1)[0].toLowerCase();
    const own = DRIVERS.find(({ name }) => name === driver)?.optionKeys ?? [];
    return own.includes(key) || common.includes(key) || !others.includes(key);
  });
}

/** `1 layer`, `2 layers`. */
export const counted = (count: number, things: string) =>
  `${count} ${count === 1 ? things.slice(0, -1) : things}`;
