/** How the sessions of the documents are typed, and those that cannot be typed here. */
import { BASE } from "../images/literal_docker_store.ts";
import { type Block, TOP } from "./blocks.ts";
import type { World } from "./worlds.ts";

/** How a session is typed. */
export interface Plan {
  readonly world: World;
  /** What is typed before it. */
  readonly before?: string;
  /** The lines of a script go on from one another; else each is an example by itself. */
  readonly isSequence?: boolean;
  /** What it answers tells of the machine. */
  readonly isOfMachine?: boolean;
  /** Its exit status, if it is not 0. */
  readonly status?: number;
}

/** Sessions that other tests type, by their pages and first lines. */
const ELSEWHERE: readonly (readonly [page: string, first: RegExp, test: string])[] = [
  ["README.md", /^veneer tree/, "tests/docs/links_test.ts: it is docs/terminal.md's"],
  ["README.md", /^make build/, "tests/cli/program_test.ts"],
  ["README.md", /^make /, "CI"],
  ["README.md", /^make base.tar/, "tests/cli/by_hand_test.ts"],
  ["docs/installing.md", /^make build/, "tests/cli/program_test.ts"],
  ["docs/terminal.md", /./, "tools/captures.ts makes it from a session"],
  ["docs/workflows.md", /./, "tests/docs/workflows_test.ts"],
  ["CONTRIBUTING.md", /./, "they run tests"],
];

/** Whether another test types a block. */
export const isElsewhere = ({ page, typed }: Block) =>
  ELSEWHERE.some(([at, first]) => page === at && first.test(typed[0]));

/** Lines that need what is nowhere here, and the reason. */
const NOT_HERE: readonly (readonly [line: RegExp, reason: string])[] = [
  [/^curl .*example\.org/, "a network"],
  [/docker (save|load|info)\b/, "a running Docker: tests/engines"],
  [/^systemctl /, "systemd"],
  [/^rsync /, "rsync; tests/cli/by_hand_test.ts copies a store"],
  [/^veneer migrate --to /, "btrfs: tests/migrate"],
  [/^veneer migrate --docker /, "a Docker: tests/migrate, tests/peers"],
  [/--driver btrfs/, "btrfs: tests/services"],
  [/--storage-opt size/, "a file system that limits directories: tests/drivers"],
  [/^veneer repair --from pool/, "device-mapper: tests/care/restore_pool_test.ts"],
  [/\| dot /, "Graphviz"],
];

const isHere = (line: string) => !NOT_HERE.some(([pattern]) => pattern.test(line));

/** `app` and `base` alone. */
const PAIR = "veneer rm app-run tool", ALONE = `${PAIR} app`;
/** As docs/snapshots.md goes on: there is a snapshot to work in. */
const WORK = "veneer snapshot prepare work --parent base";
const CHANGED = `${WORK}; m=$(veneer snapshot mount work); echo 1 >$m/etc/issue; ` +
  "veneer snapshot umount work >/dev/null";
/** The file that docs/configuration.md shows. */
const CONFIGURED = `cat >/etc/veneer/config.toml <<'END'\n${
  /^```toml\n([^]*?)^```$/m.exec(Deno.readTextFileSync(`${TOP}/docs/configuration.md`))![1]
}END`;
/** A layer of Docker's, and one to apply it to. */
const LAYER = BASE, AUFS = `veneer create ${LAYER}`;
/** What `check`, `repair` and `gc` find, as docs/layers.md shows it. */
const DAMAGED = ": >/var/lib/veneer/overlay2/app/link";
const BROKEN = `veneer create old; veneer cleanup
  cd /var/lib/veneer/overlay2; : >app/lower; rm -r old/diff`;
const ORPHANED = `cd /var/lib/veneer/overlay2 && touch .veneer/incomplete/old &&
  ln -s ../old/diff l/5KYW7VBPN3HXZ2L4QTJ6DERMAS && touch -hd '-3 days' .veneer/incomplete/old l/5KYW*`;
/** Takes the names away that a session gives. */
const UNNAMED = "veneer snapshot rm app-run app";

/** By first lines; of several, the first counts. */
const plans: readonly (readonly [first: RegExp, plan: Plan])[] = [
  [/^veneer create base/, { world: "empty" }],
  [/^veneer doctor$/, { world: "layers", isOfMachine: true }],
  [/^veneer df$/, { world: "layers", before: "veneer rm app-run; veneer mount tool >/dev/null" }],
  [/^veneer (ls|tree)$/, { world: "layers", before: "veneer mount app-run >/dev/null" }],
  [/^veneer check$/, { world: "everything", before: DAMAGED, status: 12 }],
  [/^veneer repair app --from/, { world: "layers", before: "veneer diff app | gzip >app.tar.gz" }],
  [/^veneer repair$/, { world: "layers", before: BROKEN }],
  [/^veneer gc$/, { world: "everything", before: ORPHANED }],
  [/^veneer cleanup$/, { world: "layers", before: "umount $(veneer mount app-run)" }],
  [/^veneer snapshot rm app-run/, {
    world: "snapshots",
    before: "umount $(veneer snapshot mount app-run)",
  }],
  [/^veneer create app/, { world: "layers", before: ALONE }],
  [/^veneer rm app base/, { world: "layers", before: PAIR }],
  [/^veneer umount app/, { world: "layers", before: "veneer mount app" }],
  [/^veneer exec app -- apk/, {
    world: "everything",
    before: `veneer rm app-run; ${WORK}`,
  }],
  [/^veneer apply base/, { world: "layers", before: ALONE }],
  [/^veneer config show/, { world: "empty", before: CONFIGURED }],
  [/docker check/, { world: "everything", status: 12 }], // Docker's store is only half there.
  [/^veneer.* (gc|check|repair)/, { world: "everything" }],
  [/^veneer doctor --root/, {
    world: "layers",
    before: "mount -t tmpfs tmpfs /mnt && mkdir /mnt/store",
  }],
  [/^veneer cleanup && veneer snapshot/, { world: "everything" }],
  [/^veneer --root \/var\/lib\/docker --driver aufs/, { world: "aufs", before: AUFS }],
  [/^veneer snapshot prepare import/, { world: "empty" }],
  [/--service veneer/, { world: "everything" }],
  [/^veneer snapshot umount \/mnt/, {
    world: "snapshots",
    before: `${WORK}; veneer snapshot mount work /mnt`,
  }],
  [/^veneer snapshot umount/, {
    world: "snapshots",
    before: `${WORK}; veneer snapshot mount work`,
  }],
  [/^veneer snapshot (apply|changes|mounts? work|exec|shell)/, {
    world: "snapshots",
    before: CHANGED,
  }],
  [/^veneer snapshot view look/, { world: "snapshots", before: "veneer snapshot rm look" }],
  [/^veneer snapshot ls kind/, { world: "everything" }],
  [/^veneer snapshot prepare work.*mounted/, { world: "snapshots" }],
  [/^veneer snapshot prepare work --parent base$/, {
    world: "snapshots",
    before: UNNAMED,
    isSequence: true,
  }],
  [/^veneer snapshot commit app work/, { world: "snapshots", before: `${UNNAMED}; ${CHANGED}` }],
  [/^m=.*snapshot mount work/, { world: "snapshots", before: WORK }],
  [/^veneer snapshot rm work app/, {
    world: "snapshots",
    before: `veneer snapshot rm app-run; ${WORK}`,
  }],
  [/^veneer snapshot/, { world: "snapshots" }],
  [/^veneer image umount/, { world: "images", before: "veneer image mount alpine" }],
  [/^veneer image mount alpine work +# to be changed/, { world: "images", isSequence: true }],
  [/^veneer image (umount|commit)/, { world: "images", before: "veneer image mount alpine work" }],
  [/^veneer image inspect app --docker/, { world: "everything" }],
  [/^veneer image import/, { world: "everything", before: "veneer image rm alpine" }],
  [/^veneer image export app/, {
    world: "everything",
    before: "veneer image tag alpine app; rm -r layout",
  }],
  [/image/, { world: "images" }],
  [/^veneer container/, { world: "everything" }],
  [/serve/, { world: "empty" }],
];

/** How lines are typed that begin with the first of these. */
export const planOf = (typed: readonly string[]): Partial<Plan> =>
  plans.find(([first]) => first.test(typed[0]))?.[1] ?? {};

/** What is typed at a time of a block. */
export function sessionsOf({ page, typed }: Block): string[][] {
  const lines = typed.filter(isHere);
  if (lines.length === 0) return [];
  const isApart = page === "docs/commands.md" && !planOf(lines).isSequence;
  return isApart ? lines.map((line) => [line]) : [lines];
}

/** A line as it is typed here: a service ends once it serves. */
export const whole = (line: string) =>
  line.replace(/^(?=veneer (--\S+ \S+ )*serve )/, "serving ").replaceAll("LAYER", LAYER);

/** Whether a block shows what this machine answers. */
export const isAnswered = ({ typed }: Block, { isOfMachine }: Partial<Plan>) =>
  isOfMachine !== true && typed.every(isHere);
