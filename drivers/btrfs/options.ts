/**
 * The options of the driver and of its layers.
 *
 * | option | meaning |
 * | --- | --- |
 * | `btrfs.min_space` | turn quotas on at open; the least size a layer may be given |
 * | `btrfs.quota` | `qgroup`: limits count inherited data; `simple` (Linux 6.7): they do not; `off`: no limits |
 * | `btrfs.device` | the device to mount snapshots from, if not the one in mountinfo |
 * | a layer's `size` | the most it may refer to; read-write layers only |
 *
 * @module
 */
import { VeneerError } from "../../lib/base/errors.ts";
import type { LayerSpec } from "../../lib/graph/backend.ts";
import { checkKnown } from "../../lib/base/options.ts";
import { formatSize, parseSize } from "../../lib/base/sizes.ts";
import { OPTION_KEYS } from "./option_keys.ts";

const QUOTA_CHOICES = ["qgroup", "simple", "off"] as const;

/** The values of `btrfs.quota`. */
export type QuotaChoice = typeof QUOTA_CHOICES[number];

/** The driver's parsed options. */
export interface BtrfsOptions {
  /** In bytes; 0 if it was not given. */
  readonly minSpace: number;
  readonly quota: QuotaChoice;
  /** A path; `undefined` for the device that the file system was mounted from. */
  readonly device: string | undefined;
}

/** @throws {VeneerError} `invalid argument`; the message has the option and its rule */
export function parseDriverOptions(options: ReadonlyMap<string, string>): BtrfsOptions {
  checkKnown(options, OPTION_KEYS, "btrfs");
  const minSpace = parseSize(options.get("btrfs.min_space") ?? "0", "btrfs.min_space");
  const quota = parseQuota(options.get("btrfs.quota") ?? "qgroup");
  if (minSpace > 0 && quota === "off") {
    throw new VeneerError(
      "invalid argument",
      "btrfs.min_space needs quotas, which btrfs.quota=off rules out; leave one of them out",
    );
  }
  return { minSpace, quota, device: parseDevice(options.get("btrfs.device")) };
}

/** Returns a path for `mount(2)`. It need not exist here, because another program may mount it. */
function parseDevice(text: string | undefined): string | undefined {
  if (text === undefined || text.startsWith("/")) return text;
  throw new VeneerError(
    "invalid argument",
    `btrfs.device ${JSON.stringify(text)}: it must be the path of a device, such as /dev/sdb1`,
  );
}

function parseQuota(text: string): QuotaChoice {
  const choice = QUOTA_CHOICES.find((name) => name === text.toLowerCase());
  if (choice !== undefined) return choice;
  throw new VeneerError(
    "invalid argument",
    `btrfs.quota ${JSON.stringify(text)}: it must be one of ${QUOTA_CHOICES.join(", ")}`,
  );
}

/**
 * The size limit that a layer's storage options give it, in bytes.
 *
 * @throws {VeneerError} `invalid argument` for an unknown key, a bad or a too small size, or a
 * layer that is not read-write
 */
export function parseLayerSize(
  { storageOptions, readWrite }: LayerSpec,
  { minSpace }: BtrfsOptions,
): number | undefined {
  checkKnown(storageOptions, ["size"], "a btrfs layer");
  const text = storageOptions.get("size");
  if (text === undefined) return undefined;
  if (!readWrite) {
    throw new VeneerError(
      "invalid argument",
      "storage option size: only read-write layers have a limit",
      { remedy: { kind: "create read-write" } },
    );
  }
  const size = parseSize(text);
  if (size === 0) {
    throw new VeneerError("invalid argument", `size ${JSON.stringify(text)}: it must be above 0`);
  }
  if (size < minSpace) {
    throw new VeneerError(
      "invalid argument",
      `size ${formatSize(size)} is less than btrfs.min_space, ${
        formatSize(minSpace)
      }; ask for more`,
    );
  }
  return size;
}
