/** Starts processes that make entries in a directory while the test deletes it. */

const SCRIPT = new URL("writer.ts", import.meta.url).pathname;

/**
 * Runs `use` while three processes make directories in a directory. They may begin a little later.
 */
export async function whileWritten(directory: string, use: () => void): Promise<void> {
  const writers = [1, 2, 3].map(() =>
    new Deno.Command(Deno.execPath(), {
      args: ["run", "--allow-all", "--no-check", "--quiet", SCRIPT, directory],
      stdin: "piped",
      stdout: "piped",
    }).spawn()
  );
  try {
    const outputs = writers.map(({ stdout }) => stdout.getReader());
    await Promise.all(outputs.map((output) => output.read()));
    await Promise.all(outputs.map((output) => output.cancel()));
    await Promise.all(writers.map(({ stdin }) => stdin.close()));
    use();
  } finally {
    for (const writer of writers) {
      try {
        writer.kill("SIGKILL");
      } catch { /* It has ended. */ }
      await writer.status;
    }
  }
}
