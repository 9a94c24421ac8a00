/**
 * The release of an installed engine.
 *
 * @module
 */
import { VeneerError } from "../../../base/errors.ts";

/** The way to get an engine's version. */
export interface EngineVersion<Release extends string> {
  /** The program, which prints its version with `--version`. */
  readonly program: string;
  /** Matches the version in its output. */
  readonly version: RegExp;
  readonly releases: readonly Release[];
  readonly releaseOf: (version: string) => Release | undefined;
}

/**
 * Returns the release of an installed engine.
 *
 * @throws {VeneerError} `not found` if it is not installed, `not supported` for an unknown release
 */
export function installedRelease<Release extends string>(
  { program, version, releases, releaseOf }: EngineVersion<Release>,
): Release {
  const say = `say which with --for ${releases.join(", ")}`;
  let output: string;
  try {
    const { stdout } = new Deno.Command(program, { args: ["--version"], stdin: "null" })
      .outputSync();
    output = new TextDecoder().decode(stdout).trim();
  } catch {
    throw new VeneerError("not found", `${program} is not installed here; ${say}`);
  }
  const release = releaseOf(version.exec(output)?.[1] ?? "");
  if (release !== undefined) return release;
  throw new VeneerError(
    "not supported",
    `${program} --version prints ${JSON.stringify(output)}, which is not a known release; ${say}`,
  );
}
