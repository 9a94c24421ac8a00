/**
 * `veneer status`: shows the driver's state and settings.
 *
 * @module
 */
import type { Run } from "./context.ts";

export const run: Run = async (context) => {
  const driver = await context.open();
  const status = driver.status();
  const typed = status.map(([name, value]) => [name, typedValue(value)]);
  context.output.result(
    { driver: driver.name, home: driver.home, status: Object.fromEntries(typed) },
    () => [
      `Driver: ${driver.name}`,
      `Home: ${driver.home}`,
      ...status.map(([name, value]) => `${name}: ${value}`),
    ],
  );
};

/** A value for JSON. Drivers return texts, since Docker's protocol has no other type. */
function typedValue(text: string): string | number | boolean {
  if (text === "true" || text === "false") return text === "true";
  return /^(0|[1-9]\d{0,14})$/.test(text) ? Number(text) : text;
}
