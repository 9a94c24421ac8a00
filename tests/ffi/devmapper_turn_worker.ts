/**
 * One of two threads that use libdevmapper, and never return to their event loops meanwhile. The
 * holder has a lock from the beginning, asks the library many times, and lets go; the waiter asks
 * the library until it gets the lock.
 */
/// <reference no-default-lib="true" />
/// <reference lib="deno.worker" />
import { driverVersion } from "../../ffi/devmapper.ts";
import { tryLock } from "../../ffi/flock.ts";
import { close, O_RDWR, open } from "../../ffi/files.ts";

const ASKED = 500;

/** Has the library log, whether the kernel has device-mapper or not. */
function ask(): void {
  try {
    driverVersion();
  } catch {
    // This kernel has none.
  }
}

self.onmessage = ({ data: { path, role } }) => {
  const fd = open(path, O_RDWR);
  if (role === "holder") {
    tryLock(fd, "exclusive");
    self.postMessage("held");
    for (let i = 0; i < ASKED; i++) ask();
  } else {
    while (!tryLock(fd, "exclusive")) ask();
  }
  close(fd);
  self.postMessage("done");
};
