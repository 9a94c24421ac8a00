/**
 * `veneer status`: shows the driver's state and settings.
 *
 * @module
 */
import type { Run } from "./context.ts";

export const run: Run = async (context) => {
  const driver = await context.open();
  const status = driver.status();
  context.output.result(
    { driver: driver.name, home: driver.home, status: Object.fromEntries(status) },
    () => [
      `Driver: ${driver.name}`,
      `Home: ${driver.home}`,
      ...status.map(([name, value]) => `${name}: ${value}`),
    ],
  );
};
