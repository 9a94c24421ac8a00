/**
 * Changes of an image's config, written as lines of a Dockerfile: `CMD ["sh"]`, `ENV A=1`.
 *
 * @module
 */
import { VeneerError } from "../base/errors.ts";

/** The part of a config about running the image. Everything that is not changed is kept. */
export type RunConfig = Record<string, unknown>;

/** The change that one kind of line makes. */
type Change = (config: RunConfig, value: string) => RunConfig;

const text = (key: string): Change => (config, value) => ({ ...config, [key]: value });

/** A list in JSON, or a line for the shell. */
const command = (key: string): Change => (config, value) => ({
  ...config,
  [key]: listOf(value) ?? ["/bin/sh", "-c", value],
});

/** Names that are keys of an object: ports, volumes. */
const names = (key: string): Change => (config, value) => ({
  ...config,
  [key]: {
    ...objectIn(config, key),
    ...Object.fromEntries((listOf(value) ?? value.split(/\s+/)).map((name) => [name, {}])),
  },
});

const CHANGES: Readonly<Record<string, Change>> = {
  CMD: command("Cmd"),
  ENTRYPOINT: command("Entrypoint"),
  USER: text("User"),
  WORKDIR: text("WorkingDir"),
  STOPSIGNAL: text("StopSignal"),
  EXPOSE: names("ExposedPorts"),
  VOLUME: names("Volumes"),
  ENV: (config, value) => {
    const [name] = pairOf("ENV", value), before = Array.isArray(config.Env) ? config.Env : [];
    const others = before.filter((entry) => !String(entry).startsWith(`${name}=`));
    return { ...config, Env: [...others, value] };
  },
  LABEL: (config, value) => {
    const [name, content] = pairOf("LABEL", value);
    return { ...config, Labels: { ...objectIn(config, "Labels"), [name]: content } };
  },
};

/**
 * Returns a config with some changes.
 *
 * @throws {VeneerError} `invalid argument` if a line is not known
 */
export function changed(config: RunConfig, lines: readonly string[]): RunConfig {
  return lines.reduce((before, line) => {
    const [, word, value] = /^\s*([A-Za-z]+)\s+(.*\S)\s*$/s.exec(line) ?? [];
    const name = word?.toUpperCase() ?? "";
    if (Object.hasOwn(CHANGES, name)) return CHANGES[name](before, value);
    throw invalid(line, `begin it with one of ${Object.keys(CHANGES).join(", ")}`);
  }, config);
}

function invalid(line: string, rule: string): VeneerError {
  return new VeneerError(
    "invalid argument",
    `change ${JSON.stringify(line.slice(0, 200))}: ${rule}`,
  );
}

function listOf(value: string): string[] | undefined {
  if (!value.startsWith("[")) return undefined;
  try {
    const list = JSON.parse(value);
    return Array.isArray(list) && list.every((word) => typeof word === "string") ? list : undefined;
  } catch {
    return undefined;
  }
}

function pairOf(word: string, value: string): [name: string, content: string] {
  const equals = value.indexOf("=");
  if (equals <= 0) throw invalid(`${word} ${value}`, "write it as NAME=VALUE");
  return [value.slice(0, equals), value.slice(equals + 1)];
}

function objectIn(config: RunConfig, key: string): Record<string, unknown> {
  const value = config[key];
  return typeof value === "object" && value !== null ? { ...value } : {};
}
