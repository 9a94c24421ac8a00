/**
 * The commands that print settings and configurations, as data.
 *
 * @module
 */
import type { CommandSpec, GroupSpec, OptionSpec } from "./spec.ts";

/** The options that name a service, which are those of `veneer serve containerd`. */
export const SERVICE_OPTIONS: readonly OptionSpec[] = [
  {
    name: "address",
    value: "SOCKET",
    kind: "file",
    summary: "the service's socket (default /run/veneer/containerd.sock)",
  },
  {
    name: "name",
    value: "NAME",
    summary: "the service's name: DIR/services/NAME below --root (default veneer)",
  },
];

const prints = (name: string, spec: Omit<CommandSpec, "name" | "operands">): CommandSpec => ({
  name: `config ${name}`,
  operands: [],
  ...spec,
});

/** `veneer config …` */
export const CONFIG: GroupSpec = {
  name: "config",
  summary: "print the settings, or the configuration for an engine to use a service",
  details:
    "Prints, and changes no file. --root and the options of the service are those that it is run with.",
  commands: [
    prints("show", {
      summary: "print the settings of the store and the origin of each",
      options: [],
      details:
        "An option wins over VENEER_ROOT, VENEER_DRIVER and VENEER_STORE, these over the configuration file, that over\n" +
        "the defaults. The file has root, driver and options, and the same with uidmap and gidmap in [stores.NAME].",
      examples: [["veneer config show --store ci", ""]],
    }),
    prints("containerd", {
      summary: "print the lines for containerd's configuration",
      options: [
        ...SERVICE_OPTIONS,
        {
          name: "for",
          value: "RELEASE",
          choices: ["1.6", "1.7", "2.x"],
          summary: "of which containerd (default: the one that is installed)",
        },
      ],
      examples: [["veneer config containerd", "lines for /etc/containerd/config.toml"]],
    }),
    prints("docker", {
      summary: "print the settings for dockerd's configuration",
      options: [
        {
          name: "name",
          value: "NAME",
          summary: "the plugin's socket without .sock, or the snapshotter (default veneer)",
        },
        {
          name: "for",
          value: "RELEASE",
          choices: ["20.10-26", "27", "28+"],
          summary: "of which Docker (default: the one that is installed)",
        },
      ],
      details:
        "Docker up to 27 uses the plugin of veneer serve docker. Docker 28 and newer keeps its images in\n" +
        "containerd, and so uses veneer serve containerd.",
      examples: [["veneer config docker", "/etc/docker/daemon.json"]],
    }),
    prints("buildkit", {
      summary: "print the lines for buildkitd's configuration",
      options: [
        { ...SERVICE_OPTIONS[0], summary: "its socket (default /run/veneer/buildkit.sock)" },
        { ...SERVICE_OPTIONS[1], summary: "its name (default buildkit)" },
      ],
      details:
        "buildkitd needs a service of its own, since it removes unknown snapshots from the store:\n" +
        "veneer serve containerd --name buildkit --address /run/veneer/buildkit.sock",
      examples: [["veneer config buildkit", "/etc/buildkit/buildkitd.toml"]],
    }),
    prints("systemd", {
      summary: "print a unit for systemd that runs the service",
      options: [
        ...SERVICE_OPTIONS,
        {
          name: "for",
          value: "ENGINE",
          choices: ["containerd", "docker"],
          summary: "containerd (the default) or docker: which service",
        },
      ],
      details: "The options given here are those that the unit starts the service with.",
      examples: [["veneer config systemd", "/etc/systemd/system/veneer-containerd.service"]],
    }),
  ],
};
