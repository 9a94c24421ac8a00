/**
 * The commands on images, as data.
 *
 * @module
 */
import {
  CONFINES_NOTHING,
  EXEC_DETAILS,
  INSIDE_OPTIONS,
  PROGRAM_OPERANDS,
} from "./inside_options.ts";
import { NO_TRUNC, OUTPUT, SERVICE } from "./snapshot_table.ts";
import type { CommandSpec, GroupSpec, OperandSpec, OptionSpec } from "./spec.ts";

const NAME: OperandSpec = { name: "NAME", kind: "image" };
const BOX: OperandSpec = { name: "BOX", kind: "other" };
const NEW_NAME: OperandSpec = { name: "REF", kind: "other" };

const DOCKER: OptionSpec = {
  name: "docker",
  value: "DIR",
  kind: "directory",
  summary: "of a store of Docker's, such as /var/lib/docker, which is read without Docker",
};

/** The options of commands that make an image. */
const COMMIT_OPTIONS: readonly OptionSpec[] = [
  { name: "name", value: "REF", summary: "the image's name" },
  { name: "message", short: "m", value: "TEXT", summary: "a comment in its history" },
  { name: "author", value: "TEXT", summary: "its author" },
  {
    name: "change",
    value: "LINE",
    repeatable: true,
    summary: "change its config by a line of a Dockerfile, such as 'CMD [\"sh\"]'",
  },
];

/** The option of commands whose `--driver` is the driver of Veneer's own store. */
const DOCKER_DRIVER: OptionSpec = {
  name: "docker-driver",
  value: "NAME",
  choices: ["overlay2", "btrfs", "devicemapper", "aufs"],
  summary: "Docker's storage driver, if DIR has images of several",
};

/** The options of commands that read the files of a store of Docker's. */
const DOCKER_FILES: readonly OptionSpec[] = [DOCKER, {
  name: "docker-pool",
  value: "NAME",
  summary: "its devicemapper's pool on devices: dm.thinpooldev of Docker's configuration",
}];

/** `veneer container …` */
export const CONTAINERS: GroupSpec = {
  name: "container",
  summary: "read the containers of a Docker that does not run",
  details:
    "--docker DIR names Docker's directory. Nothing below it is changed, not even a time of access. BOX is a\n" +
    "container's name, or the beginning of its id. The drivers overlay2, btrfs, devicemapper and aufs are read;\n" +
    "--docker-pool NAME is the pool of devicemapper, if that is not in loopback files.",
  commands: ([
    {
      name: "container ls",
      summary: "list the containers of a store of Docker's",
      operands: [],
      options: [
        { name: "quiet", short: "q", summary: "print ids only" },
        { name: "size", summary: "with the size of the changes of each, which takes a while" },
        NO_TRUNC,
      ],
      examples: [["veneer container ls --docker /var/lib/docker", ""]],
    },
    {
      name: "container diff",
      summary: "list the paths that a container added, changed and deleted",
      operands: [BOX],
      options: [],
      examples: [["veneer container diff --docker /var/lib/docker web", ""]],
    },
    {
      name: "container export",
      summary: "write all that a container shows as a tar",
      operands: [BOX],
      options: [OUTPUT],
      examples: [["veneer container export --docker /var/lib/docker web -o web.tar", ""]],
    },
    {
      name: "container commit",
      summary: "make an image of a container here, and print its name and id",
      operands: [BOX],
      options: [...COMMIT_OPTIONS, DOCKER_DRIVER, SERVICE],
      details:
        "The image has the layers of the one that the container stands on, and one of what the container changed.\n" +
        "It goes into the store of images here; `veneer image export` writes it for others.",
      examples: [[
        "veneer container commit --docker /var/lib/docker web --name web:saved",
        "",
      ]],
    },
  ] satisfies CommandSpec[]).map((command) => ({
    ...command,
    options: [...command.options, ...DOCKER_FILES],
  })),
};

/** `veneer image …` */
export const IMAGES: GroupSpec = {
  name: "image",
  summary: "import, mount, list, export and remove whole images",
  details:
    "An image's layers are committed snapshots, which images share; its config and names lie beside them. NAME is\n" +
    "a name, such as alpine or ghcr.io/a/b:1, or the beginning of an id. --service NAME works on the store of a\n" +
    "service; commands that would change it are refused while that runs.",
  commands: ([
    {
      name: "image import",
      summary: "take in the images of a file or directory and print their names and ids",
      operands: [{ name: "FILE|DIR|-", kind: "file" }],
      options: [
        { name: "name", value: "REF", summary: "name the image so, in place of the names it has" },
        {
          name: "platform",
          value: "OS/ARCH[/VARIANT]",
          summary: "the images for this platform (default: the host's)",
        },
        { name: "all", summary: "the images of every platform" },
        {
          name: "allow-expansion",
          summary: "take what expands more than a thousandfold when it is decompressed",
        },
        ...DOCKER_FILES,
        DOCKER_DRIVER,
      ],
      details:
        "Takes an OCI layout, as a directory or a tar, and the archives of `docker save`, old and new. The tar and the\n" +
        "layers may be plain, gzip or zstd; - is standard input. All digests and sizes are checked, and nothing of\n" +
        "an image that is damaged stays. A layer that is there already is not unpacked again.",
      examples: [
        ["veneer image import alpine.tar", ""],
        ["docker save app | veneer image import -", ""],
        ["veneer image import layout/ --platform linux/arm64", ""],
        ["veneer image import app --docker /var/lib/docker", "out of a Docker that does not run"],
      ],
    },
    {
      name: "image ls",
      summary: "list images",
      operands: [],
      options: [{ name: "quiet", short: "q", summary: "print ids only" }, NO_TRUNC, DOCKER],
      examples: [["veneer image ls", ""]],
    },
    {
      name: "image inspect",
      summary: "show the details of an image",
      operands: [NAME],
      options: [DOCKER],
      details:
        "Of an image in a store of Docker's, the digests that it has in registries are shown, too.",
      examples: [
        ["veneer image inspect alpine --json", "with its whole config"],
        ["veneer image inspect app --docker /var/lib/docker", ""],
      ],
    },
    {
      name: "image tree",
      summary: "draw the layers of images, with the images that stand on them",
      operands: [],
      options: [NO_TRUNC],
      examples: [["veneer image tree", ""]],
    },
    {
      name: "image tag",
      summary: "give an image another name",
      operands: [NAME, NEW_NAME],
      options: [],
      details: "If another image has that name, it loses it.",
      examples: [["veneer image tag alpine mirror.example/alpine:3", ""]],
    },
    {
      name: "image history",
      summary: "list the steps that made an image, the newest first",
      operands: [NAME],
      options: [NO_TRUNC, DOCKER],
      examples: [["veneer image history alpine", ""]],
    },
    {
      name: "image mount",
      summary: "mount a snapshot on an image and print the path of its root",
      operands: [NAME, { name: "KEY", optional: true, kind: "other" }],
      options: [{ name: "read-only", summary: "a view, which cannot be changed" }],
      details:
        "The snapshot is made if it is missing; without KEY its key is the image's name. It stays when it is\n" +
        "unmounted: `veneer snapshot rm KEY` removes it, with its changes.",
      examples: [
        ['m=$(veneer image mount alpine) && cd "$m"', "mount it and go there"],
        ["veneer image mount alpine work", "another one to be changed"],
      ],
    },
    {
      name: "image umount",
      summary: "undo `image mount`",
      operands: [{ name: "NAME|KEY", kind: "image" }],
      options: [],
      examples: [["veneer image umount alpine", ""]],
    },
    {
      name: "image exec",
      summary: "run a program in an image; its changes are dropped",
      operands: [NAME, ...PROGRAM_OPERANDS],
      options: INSIDE_OPTIONS,
      details: EXEC_DETAILS,
      examples: [["veneer image exec alpine -- cat /etc/os-release", ""]],
    },
    {
      name: "image shell",
      summary: "run a shell in an image; its changes are dropped",
      operands: [NAME],
      options: INSIDE_OPTIONS,
      details: CONFINES_NOTHING,
      examples: [["veneer image shell alpine", ""]],
    },
    {
      name: "image commit",
      summary: "make an image of a snapshot, whose key is gone then",
      operands: [{ name: "KEY", kind: "snapshot" }],
      options: COMMIT_OPTIONS,
      details:
        "The snapshot's changes become a layer on those of the image below it. LINE begins with\n" +
        "CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME or WORKDIR.",
      examples: [
        ["veneer image mount alpine work", "to be changed"],
        ["veneer image umount work", ""],
        ["veneer image commit work --name app:1 -m tested", ""],
      ],
    },
    {
      name: "image export",
      summary: "write an image as others read it",
      operands: [{ name: "NAME|CHAIN", kind: "image" }],
      options: [
        OUTPUT,
        {
          name: "allow-changed",
          summary: "write layers that are not as they came, too, which gives the image another id",
        },
        {
          name: "format",
          value: "FORMAT",
          choices: ["hybrid", "oci-dir", "docker"],
          summary: "hybrid (the default), oci-dir or docker",
        },
        {
          name: "compress",
          value: "HOW",
          choices: ["gzip", "zstd", "none"],
          summary: "how layers are compressed: gzip (the default), zstd or none",
        },
        ...DOCKER_FILES,
      ],
      details:
        "hybrid is one tar that is an OCI layout and a docker archive; oci-dir is a new directory, which -o names;\n" +
        "docker is an archive alone. The layers are the very tars that came in, so that the id stays: each is\n" +
        "compared with its digest before anything is written. The image has the name that is given, or all its names if\n" +
        "that is an id. Times are those of SOURCE_DATE_EPOCH, or 0. CHAIN is the name of a layer's snapshot: that\n" +
        "layer and those below it are written.",
      examples: [
        ["veneer image export app -o app.tar", "for docker load, ctr, skopeo, podman"],
        ["veneer image export app --format oci-dir -o layout", "for umoci and skopeo"],
        ["veneer image export app | docker load", ""],
        ["veneer image export app --allow-changed -o app.tar", "although a file was changed"],
        ["veneer image export app --docker /var/lib/docker -o app.tar", "without Docker"],
      ],
    },
    {
      name: "image rm",
      summary: "remove names; with the last one, the image is removed",
      operands: [{ ...NAME, repeatable: true }],
      options: [{ name: "force", summary: "remove an image of several names by its id" }],
      details:
        "Layers that no image or snapshot stands on go with it; the others are named. With --service, those that\n" +
        "containerd has taken stay, and go when it removes them. Goes on past one that cannot be removed; the exit\n" +
        "status is that of the first failure.",
      examples: [["veneer image rm alpine", ""]],
    },
  ] satisfies CommandSpec[]).map((command) => ({
    ...command,
    options: [...command.options, SERVICE],
  })),
};
