/** Steps as the bytes of a tar. */
import { pax, type TarEntry } from "../../tar/support/tar_builder.ts";
import { acl, aclText } from "./acl.ts";
import { type Attributes, type Kind, parts, type Step } from "./model.ts";

/** What the field of a name in a header takes. */
const FIELD = 100;

const TYPES: Readonly<Record<Kind["kind"], string>> = {
  file: "0",
  symlink: "2",
  char: "3",
  block: "4",
  directory: "5",
  fifo: "6",
};

/** The parts of a tar that says these steps; see `tar` in `tar_builder.ts`. */
export function partsOf(steps: readonly Step[]): (TarEntry | Uint8Array)[] {
  return steps.flatMap((step) => {
    if ("put" in step) return put(step.put, step.as, step.attributes);
    if ("link" in step) return named({ name: step.link, type: "1", link: step.to });
    if ("hideAll" in step) return named({ name: join(step.hideAll, ".wh..wh..opq") });
    const [above, name] = parts(step.hide);
    return named({ name: join(above, `.wh.${name}`) });
  });
}

const join = (above: string, name: string) => above === "" ? name : `${above}/${name}`;

function put(path: string, as: Kind, attributes: Attributes): (TarEntry | Uint8Array)[] {
  const { mode, uid, gid, time, xattrs } = attributes;
  const records: Record<string, string | Uint8Array> = {};
  for (const [name, value] of xattrs) {
    records[`SCHILY.xattr.${name}`] = value;
    if (name === acl.access) records["SCHILY.acl.access"] = aclText(value);
    if (name === acl.default) records["SCHILY.acl.default"] = aclText(value);
  }
  const nanos = time! % 1_000_000_000n, seconds = time! / 1_000_000_000n;
  if (nanos > 0n) records.mtime = `${seconds}.${`${nanos}`.padStart(9, "0")}`;
  const isDirectory = as.kind === "directory";
  return named({
    name: isDirectory ? `${path === "" ? "." : path}/` : path,
    type: TYPES[as.kind],
    mode,
    uid,
    gid,
    mtime: Number(seconds),
    link: as.kind === "symlink" ? as.target : undefined,
    data: as.kind === "file" ? as.data : undefined,
    ...(as.kind === "char" || as.kind === "block" ? { major: as.major, minor: as.minor } : {}),
  }, records);
}

/** An entry with the extended header that it needs. */
function named(
  entry: TarEntry & { readonly name: string; readonly link?: string },
  records: Record<string, string | Uint8Array> = {},
): (TarEntry | Uint8Array)[] {
  if (entry.name.length > FIELD) records.path = entry.name;
  if (entry.link !== undefined && entry.link.length > FIELD) records.linkpath = entry.link;
  return Object.keys(records).length === 0 ? [entry] : [pax(records), entry];
}
