/**
 * `veneer doctor`: lists the drivers that can run on this host, and remedies for missing parts.
 *
 * @module
 */
import { libcVersion } from "../../../ffi/process.ts";
import { tryLstat } from "../../../ffi/stat.ts";
import { statfs } from "../../../ffi/statfs.ts";
import { EXIT_STATUS } from "../exit_status.ts";
import type { Style } from "../style.ts";
import { outputColumns, wrapWords } from "../wrap.ts";
import type { Finding } from "../../../drivers/definition.ts";
import type { Driver } from "../../../drivers/registry.ts";
import { lacksSysAdmin, PRIVILEGED } from "../../base/capabilities.ts";
import { messageOf } from "../../base/errors.ts";
import { nearestExisting } from "../../store/home.ts";
import { isKernelAtLeast } from "../../base/kernel.ts";
import { RUN_ROOT } from "../../store/run_root.ts";
import { DEFAULT_ADDRESS, DEFAULT_NAME } from "../../services/configuration/service.ts";
import { serviceName } from "../service_name.ts";
import type { Run } from "./context.ts";
import { examineServices } from "./doctor_services.ts";

/** The findings about the host, or about one driver. */
interface Section {
  readonly name: string;
  readonly findings: readonly Finding[];
}

export const run: Run = async (context) => {
  const { output, root, options } = context;
  const address = (options.value("address") ?? DEFAULT_ADDRESS).replace(/^unix:\/\//, "");
  const service = serviceName(options.value("name") ?? DEFAULT_NAME);
  const general = { name: "this machine", findings: [...examineHost(), ...examineRoot(root)] };
  const drivers = (await context.drivers.all()).map((driver) => examineDriver(driver, root));
  const containerd = { name: "containerd", findings: await examineServices(address, service) };
  // Parts that are missing on the host are missing for every driver.
  const columns = Deno.stdout.isTerminal() ? outputColumns() : Infinity;
  const runs = (section: Section) => canRun(general) && canRun(section);
  const runnable = drivers.filter(runs).map(({ name }) => name);
  output.result(
    {
      root,
      general: general.findings,
      containerd: containerd.findings,
      drivers: drivers.map((section) => ({ ...section, canRun: runs(section) })),
    },
    () => [
      ...[general, ...drivers, containerd].flatMap((section) =>
        sectionLines(section, output.style, columns)
      ),
      runnable.length > 0
        ? `Can run at ${root}: ${runnable.join(", ")}`
        : `No driver can run at ${root}.`,
    ],
  );
  return runnable.length > 0 ? 0 : EXIT_STATUS["not supported"];
};

function examineDriver(driver: Driver, root: string): Section {
  try {
    return { name: driver.name, findings: driver.examine(root) };
  } catch (error) {
    return { name: driver.name, findings: [{ state: "missing", what: messageOf(error) }] };
  }
}

function examineHost(): Finding[] {
  return [
    isKernelAtLeast(5, 6)
      ? { state: "ok", what: `kernel ${Deno.osRelease()} on ${Deno.build.arch}` }
      : {
        state: "missing",
        what: `kernel ${Deno.osRelease()} has no openat2`,
        remedy: "use Linux 5.6 or later",
      },
    examineUser(),
    examineRun(),
    examineLibc(),
    { state: "ok", what: `Deno ${Deno.version.deno}` },
  ];
}

function examineUser(): Finding {
  const uid = Deno.uid();
  if (uid !== 0) {
    return { state: "missing", what: `run by user ${uid}, not root`, remedy: "use sudo" };
  }
  return lacksSysAdmin()
    ? {
      state: "missing",
      what: "run by root without CAP_SYS_ADMIN, so nothing can be mounted",
      remedy: PRIVILEGED,
    }
    : { state: "ok", what: "run by root" };
}

/** Examines `/run`, which has the locks and the counts of mounts. */
function examineRun(): Finding {
  const remedy = "mount a tmpfs there";
  if (!tryLstat("/run/.")?.isDirectory) {
    return { state: "missing", what: "there is no /run", remedy };
  }
  const place = tryLstat(RUN_ROOT) === undefined ? "/run" : RUN_ROOT;
  if (statfs(place).readOnly) return { state: "missing", what: `${place} is read-only`, remedy };
  return Deno.uid() === 0
    ? { state: "ok", what: "/run is writable" }
    : { state: "limited", what: "/run is writable for root" };
}

/** The findings about the root, which apply to every driver. */
function examineRoot(root: string): Finding[] {
  const place = nearestExisting(root, ".");
  if (!statfs(place).readOnly) return [];
  return [{
    state: "missing",
    what: `${place} is on a read-only file system: a store there can only be read`,
    remedy: "`mount -o remount,rw` it",
  }];
}

function examineLibc(): Finding {
  try {
    return { state: "ok", what: `glibc ${libcVersion()}` };
  } catch {
    return {
      state: "missing",
      what: "the C library is not glibc",
      remedy: "use a distribution with glibc, such as Debian",
    };
  }
}

/** The columns before a finding's text. */
const INDENT = 4;

const canRun = ({ findings }: Section) => findings.every(({ state }) => state !== "missing");

/**
 * The lines of a section, wrapped to the terminal's width; further lines of a finding are indented.
 */
function sectionLines({ name, findings }: Section, style: Style, columns: number): string[] {
  const signs = {
    ok: style("green", "✓"),
    limited: style("yellow", "!"),
    missing: style("red", "✗"),
  };
  return [
    style("bold", name),
    ...findings.flatMap(({ state, what, remedy }) => {
      const text = `${what}${remedy ? `; ${remedy}` : ""}`;
      const [first, ...more] = wrapWords(text, columns - INDENT);
      return [`  ${signs[state]} ${first}`, ...more.map((line) => " ".repeat(INDENT) + line)];
    }),
    "",
  ];
}
