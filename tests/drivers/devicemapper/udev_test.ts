/**
 * devicemapper where udev runs: nodes are udev's, and every task waits by cookie until they are there.
 *
 * There is no udev in the guest; this case starts one of its own, where the program is installed.
 */
// @runs on guest ext4
import { assert, assertEquals } from "@std/assert";
import { storeDir } from "../../support/store_dir.ts";
import { lacksProgram, must, needs } from "../../support/cases.ts";
import { isThere } from "../../support/files.ts";
import { FILE_SYSTEM, lacking } from "./support.ts";

const lacks = lacking ?? lacksProgram("udevadm") ??
  (FILE_SYSTEM === "xfs" ? "it ran on ext4" : undefined);

needs(lacks, "devicemapper waits for udev by cookie", async () => {
  using dir = storeDir();
  Deno.mkdirSync("/run/udev", { recursive: true });
  // A worker of the daemon may still write there when the directory is to go: it goes as a whole.
  must("mount", "-t", "tmpfs", "tmpfs", "/run/udev");
  // Under another name it is the tool; the daemon is started by this one.
  const daemon = new Deno.Command("bash", {
    args: ["-c", "exec -a systemd-udevd udevadm"],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  try {
    while (!isThere("/run/udev/control")) await new Promise((resolve) => setTimeout(resolve, 20));
    must("udevadm", "settle", "--timeout=120");
    const env = Deno.env.toObject();
    delete env.DM_DISABLE_UDEV;
    const { success, stdout, stderr } = new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "--allow-all",
        "--no-check",
        "--quiet",
        `${import.meta.dirname}/udev_child.ts`,
        `${dir.path}/root`,
      ],
      clearEnv: true,
      env,
    }).outputSync();
    assert(success, new TextDecoder().decode(stderr));
    assertEquals(JSON.parse(new TextDecoder().decode(stdout)), {
      synced: true,
      status: "true",
      isLink: true,
      deferred: true,
      kept: [false, true],
      left: ["control"],
      doctor: ["udev runs and libdevmapper cannot wait for it"],
      refusal:
        "udev runs and libdevmapper cannot wait for it (no System V semaphores, or built without " +
        "udev); run on the host, or risk it with the option dm.override_udev_sync_check=true",
      riskedStatus: "false",
    });
    // Every cookie is a semaphore, and every one was freed.
    assertEquals(Deno.readTextFileSync("/proc/sysvipc/sem").trim().split("\n").length, 1);
    // Nobody waits for the events of the devices that the child took down last.
    must("udevadm", "settle", "--timeout=120");
  } finally {
    // Killed, it would leave workers behind.
    daemon.kill("SIGTERM");
    await daemon.status;
    must("umount", "--lazy", "/run/udev");
    Deno.removeSync("/run/udev");
  }
});
